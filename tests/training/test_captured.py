"""Steps captured as CUDA graphs: what a GPU must show, and what holds without one."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import assembled
import numpy as np
import pytest
import torch
from assembled import Config, LeaveAfter, numbers, start
from support import needs_gpu
from torch import Tensor

from vae_experiments.errors import Interrupted, RunFailed
from vae_experiments.objectives import ELBO, FreeBits, LinearWarmup, Objective, Progress, Terms
from vae_experiments.training.captured import CapturedStep, Dials, can_be_captured, made_capturable
from vae_experiments.training.checkpoints import LAST, digest, load_checkpoint
from vae_experiments.training.loop import build_step, fit
from vae_experiments.training.run import Hook, TrainingRun

Compose = Callable[..., Config]

# 400 images to train on in batches of 48: eight whole ones and one of 16 in each of three epochs.
KEYS = [
    "architecture.batch_size=48",
    "architecture.latent_dim=3",
    "dataset.split.train=0.08",
    "dataset.split.test=0.9",
    "trainer.max_epochs=3",
]

EXACT = {  # to the bit
    "default": [],
    "float32": ["trainer.precision=float32"],
    "schedule": ["+schedule@objective.kl_weight=linear_warmup"],
    "free_bits": ["objective=free_bits", "+schedule@objective.nats=sigmoid"],
    "iwae": ["objective=iwae", "objective.samples=3"],
    "beta_tcvae": ["objective=beta_tcvae"],
    "dynamic": ["dataset.binarization=dynamic"],
    "clipped": ["trainer.clip_grad_norm=1.0"],
    "adamw": ["optimizer=adamw"],
    "momentum": ["scheduler.cycle_momentum=true", "+scheduler.base_momentum=0.8"],
    "sgd": ["optimizer=sgd"],
    "adagrad": ["optimizer=sgd", "optimizer._target_=torch.optim.Adagrad", "+optimizer.lr_decay=0.1"],
    "plateau": ["scheduler=plateau"],
    "deepened": ["architecture.deepen_at=5"],
    "teacher": ["teacher=small", "teacher.steps=20", "teacher.architecture.batch_size=100"],
    "vamp": ["prior=vamp"],
    "realnvp": ["prior=realnvp"],
    "iaf": ["posterior=iaf"],
    "vmf": ["posterior=von_mises_fisher", "prior=uniform_sphere"],
}
ROUNDED = {  # an update whose rates are numbers on the device rounds otherwise
    "foreach": ["optimizer.fused=false"],
    "rmsprop": ["optimizer=rmsprop"],
    "muon": ["optimizer=muon"],
}
REFUSED = {"infovae": ["objective=infovae"]}  # it draws on the host


@pytest.fixture
def composed() -> Compose:
    """The config of such a run."""
    return partial(assembled.composed, *KEYS)


@needs_gpu
@pytest.mark.parametrize("name", [*EXACT, *ROUNDED, *REFUSED])
def test_captured_steps_are_the_same_steps(composed: Compose, name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    keys = (EXACT | ROUNDED | REFUSED)[name]
    captured, plain = start(composed(*keys)), start(composed(*keys, "trainer.cuda_graphs=false"))
    fit(captured)
    fit(plain)
    assert ("no CUDA graph" in caplog.text) == (name in REFUSED)
    if name in ROUNDED:
        for ours, theirs in zip(numbers(captured), numbers(plain), strict=True):
            assert ours == pytest.approx(theirs, rel=1e-2)
    else:
        assert numbers(captured) == numbers(plain)
        assert digest(captured.state.vae.state_dict()) == digest(plain.state.vae.state_dict())


@needs_gpu
@pytest.mark.parametrize("keys", [[], *ROUNDED.values()], ids=["default", *ROUNDED])
def test_a_captured_run_goes_on_from_its_checkpoint(composed: Compose, tmp_path: Path, keys: list[str]) -> None:
    undisturbed = start(composed(*keys))
    fit(undisturbed)
    with pytest.raises(Interrupted):
        fit(start(composed(*keys), LeaveAfter(step=13, folder=tmp_path)))
    back = start(composed(*keys))
    back.state.load_state_dict(load_checkpoint(tmp_path / LAST)["state"])
    fit(back)
    assert numbers(back) == numbers(undisturbed)
    assert digest(back.state.vae.state_dict()) == digest(undisturbed.state.vae.state_dict())


@dataclass(frozen=True, kw_only=True)
class ByStep(Objective):
    """Decides by the step what is computed."""

    def __call__(self, vae: Any, x: Tensor, noise: Tensor, progress: Progress) -> Terms:
        terms = ELBO()(vae, x, noise, progress)
        return terms if progress.step < 12 else terms._replace(loss=2 * terms.loss)


@needs_gpu
def test_what_decides_by_the_step_is_not_captured(composed: Compose, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    runs = [start(composed()), start(composed("trainer.cuda_graphs=false"))]
    for run in runs:
        run.objective = ByStep()
        fit(run)
    assert caplog.text.count("no CUDA graph, each step is made one operation at a time: ") == 1
    assert numbers(runs[0]) == numbers(runs[1])


@dataclass(kw_only=True)
class Poison(Hook):
    """Makes a weight infinite after that many steps."""

    step: int

    def on_step(self, run: TrainingRun) -> None:
        if run.state.step == self.step:
            with torch.no_grad():
                next(run.state.vae.parameters()).view(-1)[0] = np.inf
            self.before = digest(run.state.vae.state_dict())


@needs_gpu
def test_a_captured_step_that_is_not_finite_updates_nothing(composed: Compose) -> None:
    poison = Poison(step=7)
    run = start(composed(), poison)
    with pytest.raises(RunFailed, match="at step 7"):
        fit(run)
    assert digest(run.state.vae.state_dict()) == poison.before


def test_without_a_gpu_nothing_is_captured(composed: Compose) -> None:
    assert not isinstance(build_step(start(composed("trainer.device=cpu"))), CapturedStep)


@pytest.mark.parametrize(
    "objective",
    [ELBO(kl_weight=LinearWarmup(length=10)), FreeBits(nats=LinearWarmup(length=10, start=0.1, end=7.0)), ELBO()],
)
def test_weights_on_the_device_give_the_same_terms(composed: Compose, objective: Objective) -> None:
    run = start(composed("trainer.device=cpu", "trainer.precision=float32"))
    run.objective = objective
    x = run.images(run.data.parts.train[:20])
    noise = objective.noise(run.state.vae, 20, torch.Generator().manual_seed(0))
    dials = Dials(run.state.optimizer, list(objective.schedules.values()), torch.device("cpu"))
    run.state.step = 7
    on_device = dials.progress(run.progress)  # before the dials are set: it sees what they say later
    dials.set(run.state.optimizer, run.progress)
    expected, terms = objective(run.state.vae, x, noise, run.progress), objective(run.state.vae, x, noise, on_device)
    for name, term in expected.named().items():
        assert torch.equal(terms.named()[name], term)
    assert dials.rates[0] == pytest.approx(run.state.optimizer.param_groups[0]["lr"])


def test_an_optimizer_is_itself_again_after_its_capture() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([weight], lr=0.25)
    before = optimizer.state_dict()["param_groups"]
    rate = torch.tensor(0.25)
    with made_capturable(optimizer, [rate]):
        assert optimizer.param_groups[0]["lr"] is rate
        assert optimizer.param_groups[0]["capturable"] is True
    assert optimizer.state_dict()["param_groups"] == before


def test_only_optimizers_that_count_on_the_device_are_captured() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    known = {"Adam": True, "AdamW": True, "RMSprop": True, "SGD": False, "Adagrad": False, "Adafactor": False}
    assert {name: can_be_captured(getattr(torch.optim, name)([weight], lr=0.1)) for name in known} == known
