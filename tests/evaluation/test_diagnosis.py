"""What is found of a model's symptoms, one threshold at a time; runs that really fail are in tests/cli."""

import logging
import math
import shlex
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from vae_experiments.config.hydra_app import to_plain
from vae_experiments.config.paths import conf_dir
from vae_experiments.config.resolvers import register_resolvers
from vae_experiments.evaluation.aggregate import Aggregate
from vae_experiments.evaluation.diagnosis import Finding, Symptoms, description, diagnose, tag
from vae_experiments.runs.config import RunConfig
from vae_experiments.sweeps.compose import ABOUT_THE_SWEEP

FITTING = Aggregate(images=1000, mutual_information=6.5, marginal_kl=1.8, lower_kl=-3.0, gaussian_kl=0.1)
NOISE = np.random.default_rng(0).normal(0, 20, 1000)


def bounds(*values: float) -> list[dict[str, float]]:
    return [{"val/elbo": value} for value in values]


SOUND = Symptoms(
    activity=np.full(4, 0.9),
    kl_per_dim=np.full(4, 3.0),
    rate=12.0,
    aggregate=FITTING,
    train_elbo=-98 + NOISE,
    val_elbo=-100 + NOISE,
    history=bounds(-200, -140, -110, -101, -100.2, -100),
)
IDLE = np.array([3.0, 0.001, 3.0, 0.002])
COLLAPSED = np.full(4, 0.001)
FAR = replace(FITTING, gaussian_kl=5.0)

CASES: list[tuple[str, Symptoms, list[str]]] = [
    ("posterior_collapse", replace(SOUND, kl_per_dim=IDLE, rate=6.0), ["2 of 4", "(2, 4)", "6.00 nats", "0.002"]),
    ("posterior_collapse", replace(SOUND, kl_per_dim=IDLE, kl_weight=0.5), ["2 of 4", "2 are enough"]),
    ("posterior_collapse", replace(SOUND, kl_per_dim=IDLE, scheduled=True), ["2 of 4"]),
    ("posterior_collapse", replace(SOUND, kl_per_dim=IDLE, kl_weight=None), ["2 of 4"]),
    ("posterior_collapse", replace(SOUND, kl_per_dim=COLLAPSED, rate=0.004), ["the whole latent space"]),
    ("posterior_collapse", replace(SOUND, kl_per_dim=COLLAPSED, rate=0.004, scheduled=True), ["the whole"]),
    ("posterior_collapse", replace(SOUND, kl_per_dim=COLLAPSED, rate=0.004, kl_weight=None), ["the whole"]),
    # Without KLs of their own, dimensions are judged by the activity of their means.
    ("posterior_collapse", replace(SOUND, kl_per_dim=None, activity=IDLE / 3), ["2 of 4", "(2, 4)"]),
    (
        "posterior_collapse",
        replace(SOUND, kl_per_dim=None, activity=IDLE / 300, on_sphere=True, rate=0.01),
        ["the whole"],
    ),
    # One narrow posterior for every image: a rate, and nothing said with it.
    (
        "posterior_collapse",
        replace(
            SOUND,
            kl_per_dim=None,
            on_sphere=True,
            rate=2.35,
            aggregate=Aggregate(1000, mutual_information=0.0, marginal_kl=2.35, lower_kl=2.3, gaussian_kl=None),
        ),
        ["the whole latent space", "2.35 nats"],
    ),
    ("over_regularised", replace(SOUND, rate=3.0, kl_weight=6.0), ["KL weight 6", "3.00 nats", "0.75 a dimension"]),
    ("over_regularised", replace(SOUND, rate=3.0, kl_weight=1.5), ["KL weight 1.5"]),
    ("over_regularised", replace(SOUND, rate=3.0, kl_weight=6.0, scheduled=True), ["KL weight 6"]),
    ("under_trained", replace(SOUND, history=bounds(-100)), ["one epoch"]),
    ("under_trained", replace(SOUND, history=bounds(-130, -110, -100)), ["10.00 nats", "to -100.00", "last epoch"]),
    ("under_trained", replace(SOUND, history=bounds(*range(-130, -100))), ["3.00 nats", "to -101.00", "3 epochs"]),
    ("aggregate_off_prior", replace(SOUND, aggregate=FAR), ["5.00 nats", "rate of 12.00"]),
    ("aggregate_off_prior", replace(SOUND, aggregate=replace(FITTING, lower_kl=2.0, gaussian_kl=None)), ["2.00 nats"]),
    ("aggregate_off_prior", replace(SOUND, aggregate=FAR, kl_weight=0.01), ["5.00 nats"]),
    ("aggregate_off_prior", replace(SOUND, aggregate=FAR, kl_weight=0.01, scheduled=True), ["5.00 nats"]),
    ("aggregate_off_prior", replace(SOUND, aggregate=FAR, learned_prior=True), ["5.00 nats"]),
    ("aggregate_off_prior", replace(SOUND, aggregate=FAR, on_sphere=True), ["5.00 nats"]),
    ("overfitting", replace(SOUND, train_elbo=-80 + NOISE), ["on training images", "on others"]),
    ("overfitting", replace(SOUND, history=bounds(-120, -100, -104, -110)), ["-100.00 at epoch 2", "-110.00"]),
]


def named(name: str, symptoms: Symptoms) -> Finding:
    (finding,) = [finding for finding in diagnose(symptoms) if finding.name == name]
    return finding


@pytest.fixture(scope="module", autouse=True)
def _config_folder() -> Any:
    register_resolvers()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield
    logging.getLogger().handlers = [h for h in logging.getLogger().handlers if type(h).__module__.startswith("_pytest")]


def test_a_sound_model_has_nothing_wrong() -> None:
    assert diagnose(SOUND) == []
    assert tag([]) == "healthy"
    assert "healthy" in description([])


@pytest.mark.parametrize(("name", "symptoms", "figures"), CASES)
def test_what_is_wrong_is_named_with_its_figures(name: str, symptoms: Symptoms, figures: list[str]) -> None:
    finding = named(name, symptoms)
    for figure in figures:
        assert figure in finding.text
    assert "\n" not in finding.text


def composed(*overrides: str) -> dict[str, Any]:
    """A run's config, after it has been found good."""
    config = to_plain(compose("train", ["experiment=smoke", *overrides]))
    plain = {key: value for key, value in config.items() if key not in ABOUT_THE_SWEEP}
    RunConfig.of(plain)
    return plain


@pytest.mark.parametrize(("name", "symptoms", "figures"), CASES)
def test_what_is_to_be_tried_can_be_trained(name: str, symptoms: Symptoms, figures: list[str]) -> None:
    cure = shlex.split(named(name, symptoms).cure)
    # The run that it was: what stands on its command line and is changed by the cure is left out with it.
    before = [f"architecture.latent_dim={len(symptoms.activity)}", f"trainer.max_epochs={len(symptoms.history)}"]
    if "objective=free_bits" in cure:
        pass
    elif symptoms.kl_weight is None:
        before.append("objective=iwae")
    elif symptoms.scheduled:
        before += ["+schedule@objective.kl_weight=linear_warmup", f"objective.kl_weight.end={symptoms.kl_weight}"]
    elif not any("objective" in override for override in cure):
        before.append(f"objective.kl_weight={symptoms.kl_weight}")
    if symptoms.learned_prior:
        before.append("prior=vamp")
    if symptoms.on_sphere:
        before += ["posterior=von_mises_fisher", "prior=uniform_sphere"]
    assert composed(*before, *cure) != composed(*before) or cure == ["objective.kl_weight=1"]


@pytest.mark.parametrize(
    ("symptoms", "cure"),
    [
        (replace(SOUND, kl_per_dim=IDLE), "+schedule@objective.kl_weight=linear_warmup"),
        (replace(SOUND, kl_per_dim=IDLE, kl_weight=4.0), "objective.kl_weight=1"),
        # A warm-up has been tried, and the dimensions are not needed.
        (replace(SOUND, kl_per_dim=IDLE, scheduled=True), "architecture.latent_dim=2"),
        (replace(SOUND, kl_per_dim=COLLAPSED, scheduled=True), "objective=free_bits"),
    ],
)
def test_idle_dimensions_are_woken_before_they_are_given_up(symptoms: Symptoms, cure: str) -> None:
    assert named("posterior_collapse", symptoms).cure == cure


def test_a_model_off_the_prior_that_still_learns_is_trained_on_first() -> None:
    early = replace(SOUND, aggregate=FAR, history=bounds(-130, -110, -100))
    assert named("aggregate_off_prior", early).cure == "trainer.max_epochs=6"
    assert named("aggregate_off_prior", replace(SOUND, aggregate=FAR)).cure == "prior=vamp"


@pytest.mark.parametrize(
    "sound",
    [
        replace(SOUND, kl_weight=4.0),  # beta, and the latents carry enough all the same
        replace(SOUND, aggregate=None),
        # What few images cannot help: each with a narrow posterior of its own.
        replace(SOUND, aggregate=replace(FITTING, mutual_information=6.9, marginal_kl=30.0, lower_kl=-500.0)),
        replace(SOUND, aggregate=replace(FITTING, gaussian_kl=1.1)),  # little beside the rate
        replace(SOUND, train_elbo=-96 + NOISE),
        # A gap that so few images have by chance.
        replace(SOUND, train_elbo=np.array([-60.0, -120.0]), val_elbo=np.array([-150.0, -70.0])),
        replace(SOUND, history=bounds(-200, -140, math.nan, -101, -100.2, -100)),
        # A bound near zero, as a density's may be, moves by more than its hundredth.
        replace(SOUND, history=bounds(-3, 0.1, 0.2), train_elbo=NOISE, val_elbo=NOISE),
        replace(SOUND, kl_per_dim=None, activity=IDLE / 300, on_sphere=True),  # no variance says anything there
    ],
)
def test_what_is_not_wrong_is_not_found(sound: Symptoms) -> None:
    assert diagnose(sound) == []


def test_the_gravest_comes_first_and_each_has_its_line() -> None:
    ill = replace(SOUND, kl_per_dim=COLLAPSED, rate=0.004, kl_weight=50.0, history=bounds(-200))
    found = diagnose(ill)
    assert tag(found) == "posterior_collapse, over_regularised, under_trained"
    lines = description(found).splitlines()
    assert len(lines) == 3
    assert lines[0].endswith("Try `objective.kl_weight=1`.")


def test_many_idle_dimensions_are_not_all_listed() -> None:
    text = named("posterior_collapse", replace(SOUND, kl_per_dim=np.r_[3.0, np.zeros(30)], activity=np.ones(31))).text
    assert "(2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, ...)" in text
