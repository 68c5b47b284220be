"""Every objective and schedule through the real configs and the real loop: batches of one image, and resuming."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import assembled
import pytest
from assembled import Config, LeaveAfter, numbers, start

from vae_experiments.config.paths import conf_dir
from vae_experiments.errors import InputError, Interrupted
from vae_experiments.objectives import Progress
from vae_experiments.runs.config import RunConfig
from vae_experiments.training.checkpoints import LAST, digest, load_checkpoint
from vae_experiments.training.loop import fit
from vae_experiments.training.run import Hook, TrainingRun

Compose = Callable[..., Config]

# 200 images to train on and 200 to validate on in batches of 199: the last batch of both is a single image.
LONELY = [
    "architecture.latent_dim=3",
    "architecture.batch_size=199",
    "dataset.split.val=0.04",
    "dataset.split.test=0.92",
    "trainer.max_epochs=3",
]

OBJECTIVES = {
    "iwae": ["objective=iwae"],
    "dreg": ["objective=iwae", "objective.samples=3", "objective.estimator=dreg"],
    "free_bits": ["objective=free_bits", "objective.group=2", "+schedule@objective.nats=sigmoid"],
    "capacity": ["objective=capacity", "schedule@objective.capacity=cosine"],
    "capacity_number": ["objective=capacity", "objective.capacity=5"],
    "beta_tcvae": ["objective=beta_tcvae"],
    "stratified": ["objective=beta_tcvae", "objective.sampling=stratified", "+schedule@objective.beta=linear_warmup"],
    "infovae": ["objective=infovae"],
    "infovae_rbf": ["objective=infovae", "objective.kernel=rbf", "prior=mixture", "objective.kl_weight=1"],
    "cyclical": ["+schedule@objective.kl_weight=cyclical"],
}


@pytest.fixture
def composed() -> Compose:
    """The config of such a run."""
    return partial(assembled.composed, *LONELY)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_run_that_left_and_came_back_is_the_same_run(composed: Compose, tmp_path: Path, name: str) -> None:
    config = composed(*OBJECTIVES[name])
    undisturbed = start(config)
    fit(undisturbed)  # ends with an error at a loss or a gradient that is not finite
    for epoch in undisturbed.state.history:
        for part in ("train", "val"):
            named = ("loss", "reconstruction", "kl", *undisturbed.objective.others)
            assert all(abs(epoch[f"{part}/{term}"]) < 1e4 for term in named)
            assert epoch[f"{part}/elbo"] == -(epoch[f"{part}/reconstruction"] + epoch[f"{part}/kl"])

    with pytest.raises(Interrupted):
        fit(start(config, LeaveAfter(step=3, folder=tmp_path)))
    back = start(config)
    back.state.load_state_dict(load_checkpoint(tmp_path / LAST)["state"])
    assert back.progress == replace(undisturbed.progress, step=3)
    fit(back)
    assert back.state.step == 6
    assert digest(back.state.vae.state_dict()) == digest(undisturbed.state.vae.state_dict())
    assert numbers(back) == numbers(undisturbed)


def test_the_weight_of_every_step_is_the_schedules(composed: Compose) -> None:
    @dataclass(kw_only=True)
    class Watch(Hook):
        def on_step(self, run: TrainingRun) -> None:
            seen.append(run.objective.kl_weight_at(run.progress))

    seen: list[float] = []
    cycles = ["+schedule@objective.kl_weight=cyclical", "objective.kl_weight.cycles=2", "objective.kl_weight.ramp=1.0"]
    run = start(composed(*cycles), Watch())
    fit(run)
    # As each step was finished: six of them, two cycles, and the end.
    assert seen == pytest.approx([1 / 3, 2 / 3, 0, 1 / 3, 2 / 3, 1])
    logged = [epoch["objective/kl_weight"] for epoch in run.state.history]
    assert logged == pytest.approx([2 / 3, 1 / 3, 1])


EXAMPLE = re.compile(r"\+?schedule@objective\.\w+=\w+(?: objective\.\S+)?")


@pytest.mark.parametrize(
    "path", sorted(conf_dir().glob("objective/*.yaml")) + sorted(conf_dir().glob("schedule/*.yaml"))
)
def test_a_schedule_ends_where_the_example_beside_it_says(composed: Compose, path: Path) -> None:
    objective = [f"objective={path.stem}"] if path.parent.name == "objective" else []
    examples = EXAMPLE.findall(path.read_text().replace("\n#", ""))
    assert examples or path.stem in ("iwae", "seed")
    for example in examples:
        schedule, *end = example.split()
        weight = schedule.partition("@objective.")[2].partition("=")[0]
        objective_now = RunConfig.of(composed(*objective, schedule, *end)).objective
        last = objective_now.scheduled(Progress(step=10**6, steps_per_epoch=1, steps=10, images=1))[weight]
        assert last == (float(end[0].partition("=")[2]) if end else 25.0)  # capacity's own


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["objective=iwae", "objective.samples=0"], r"^objective\.samples=0: .*greater than or equal to 1"),
        (["objective=iwae", "objective.estimator=dregs"], r"^objective\.estimator='dregs': .*'iwae' or 'dreg'"),
        (["objective=beta_tcvae", "objective.beta=-1"], r"^objective\.beta=-1: "),
        (
            ["+schedule@objective.kl_weight=cyclical", "objective.kl_weight.ramp=1.5"],
            r"^objective\.kl_weight\.ramp=1.5",
        ),
        (["objective=free_bits", "prior=mixture"], r"^objective=free_bits: .*the prior GaussianMixture"),
        (["objective=seed", "prior=vamp"], r"^objective=seed: .*VampPrior .*prior=standard_normal"),
        (["objective.kl_weight=0", "prior=mixture"], r"^objective=elbo: with kl_weight=0 .*GaussianMixture"),
        (["objective=infovae", "prior=realnvp"], r"^objective=infovae: with kl_weight=0 .*RealNVP"),
        (["objective=capacity", "objective.gamma=0", "prior=realnvp"], r"^objective=capacity: with gamma=0 .*RealNVP"),
    ],
)
def test_settings_are_checked_and_named(composed: Compose, overrides: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        start(composed(*overrides))
