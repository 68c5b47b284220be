"""What a job costs, known before it runs."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vae_experiments.errors import InputError, RunFailed
from vae_experiments.runs.assemble import assemble
from vae_experiments.runs.config import RunConfig
from vae_experiments.runs.folder import RunFolder
from vae_experiments.sweeps.child import in_child
from vae_experiments.sweeps.cost import PICTURES_SECONDS, RECORD_SECONDS, START_SECONDS, Extent, Sample
from vae_experiments.sweeps.estimate import estimate_plan, measure_in_child, survey
from vae_experiments.training.loop import fit
from vae_experiments.training.run import TrainingRun
from vae_experiments.training.world import World

Composed = Callable[..., dict[str, Any]]

HERE = Path()


def make_run(config: dict[str, Any]) -> TrainingRun:
    return assemble(RunConfig.of(config), config, RunFolder(HERE), World())


def test_a_measured_job(composed: Composed) -> None:
    config = composed("trainer.max_epochs=7")
    before = set(Path.cwd().rglob("*"))
    cost = measure_in_child(config, 1, Path.cwd())
    assert set(Path.cwd().rglob("*")) == before
    run = make_run(config)
    assert cost.parameters == sum(p.numel() for p in run.state.vae.parameters())
    assert 0 < 4 * cost.step_seconds < cost.epoch_seconds < 8 * cost.step_seconds + 1  # 200 images, 50 a step
    assert cost.total_seconds == pytest.approx(7 * cost.epoch_seconds + START_SECONDS)
    assert 2e8 < cost.peak_bytes < 2e9
    assert not cost.approximate


def test_the_time_of_an_epoch_is_that_of_a_real_one(composed: Composed) -> None:
    config = composed("dataset.split.train=0.4", "dataset.split.test=0.58", "architecture.filters=[16,16,16,16]")
    run = make_run(config)
    cost = measure_in_child(config, 1, Path.cwd())
    fit(run)
    # Other tests run meanwhile: a factor of five is what can be promised here.
    assert 1 / 5 < cost.step_seconds * 40 / run.metrics["time/epoch_seconds"] < 5


def test_whole_runs_are_extrapolated() -> None:
    extent = Extent(parameters=10, train=95, val=20, batch_size=10, epochs=3, pictures=True, record=True)
    cost = Sample(step=2.0, val_image=0.5, peak=1e6).cost(extent)
    assert cost.epoch_seconds == 2.0 * 9.5 + 0.5 * 20  # the last batch holds half as many images
    assert cost.total_seconds == 3 * cost.epoch_seconds + START_SECONDS + PICTURES_SECONDS + RECORD_SECONDS
    small = Extent(parameters=10, train=5, val=20, batch_size=10, epochs=3, pictures=False, record=False)
    assert Sample(step=2.0, val_image=0.5, peak=1e6).cost(small).epoch_seconds == 2.0 + 0.5 * 20


def test_parameters_are_counted_without_weights(composed: Composed) -> None:
    configs = [composed(f"architecture.latent_dim={dim}", f"seed={seed}") for dim in (2, 9) for seed in (0, 1)]
    extents = survey(configs)
    built = [sum(p.numel() for p in make_run(config).state.vae.parameters()) for config in configs]
    assert [extent.parameters for extent in extents] == built
    assert {(extent.train, extent.val) for extent in extents} == {(200, 100)}


def test_a_plan_of_many_kinds_measures_a_few(composed: Composed) -> None:
    configs = [
        composed(f"architecture.filters=[{f},4,4,4]", f"seed={seed}", f"objective.kl_weight={1 + seed}")
        for f in (4, 6, 8, 10, 12, 14)
        for seed in (0, 1)
    ]
    costs = estimate_plan(configs, 1, Path.cwd(), budget=120)
    assert all(cost is not None for cost in costs)
    known = [cost for cost in costs if cost is not None]
    assert known[::2] == known[1::2]  # repeats cost the same
    assert [cost.approximate for cost in known[::2]] == [False, True, False, False, True, False]
    assert len({cost.parameters for cost in known}) == 6
    for i in (1, 4):  # what was not measured lies between its neighbours
        around = sorted(known[2 * j].peak_bytes for j in (i - 1, i + 1))
        assert around[0] <= known[2 * i].peak_bytes <= around[1]


def test_more_latents_per_image_are_a_kind_of_their_own(composed: Composed) -> None:
    many = [("objective.samples=1", 0), ("objective.samples=1", 1), ("objective.samples=50", 0)]
    configs = [composed("objective=iwae", samples, f"seed={seed}") for samples, seed in many]
    one, again, fifty = estimate_plan(configs, 1, Path.cwd(), budget=120)
    assert one is not None
    assert fifty is not None
    assert one == again
    assert fifty.step_seconds > 2 * one.step_seconds


def test_without_time_nothing_is_made_up(composed: Composed) -> None:
    assert estimate_plan([composed()] * 3, 1, Path.cwd(), budget=0) == [None, None, None]


def test_a_job_that_cannot_work_is_named(composed: Composed) -> None:
    good, bad = composed(), composed("dataset.split.train=0.98", "dataset.split.test=0.0", "seed=3")
    bad["dataset"]["split"]["val"] = 0.9
    with pytest.raises(InputError, match=r"job 1: .*split"):
        estimate_plan([good, bad], 1, Path.cwd())
    bad = composed("optimizer.lr=-1")
    with pytest.raises(InputError, match=r"job 2: .*optimizer"):
        survey([good, good, bad])


def test_a_loss_that_is_not_finite_costs_its_estimate(composed: Composed, caplog: pytest.LogCaptureFixture) -> None:
    exploding = composed("optimizer=sgd", "optimizer.lr=1e30")
    with pytest.raises(RunFailed, match="at step"):
        measure_in_child(exploding, 1, Path.cwd())
    assert estimate_plan([exploding], 1, Path.cwd()) == [None]
    assert "job 0 could not be measured: " in caplog.text


def test_too_little_memory_is_the_reason_given(composed: Composed) -> None:
    mlp = "vae_experiments.models.architectures.MLP"
    huge = composed() | {"architecture": {"_target_": mlp, "hidden": [2_000_000, 2_000_000]}}
    assert survey([huge])[0].parameters > 7e12  # counted all the same
    with pytest.raises(RunFailed, match="out of memory"):
        measure_in_child(huge, 1, Path.cwd())


def test_a_child_that_dies_is_told_from_one_that_answers(tmp_path: Path) -> None:
    assert in_child(os.path.abspath, ".", cwd=tmp_path, timeout=60) == str(tmp_path)
    with pytest.raises(RunFailed, match="killed, as a system that is out of memory"):
        in_child(signal.raise_signal, signal.SIGKILL, cwd=HERE, timeout=60)
    with pytest.raises(InputError, match="trainer: is missing"):
        in_child(RunConfig.of, {}, cwd=HERE, timeout=60)
    with pytest.raises(RunFailed, match=r"^ArithmeticError: no good$"):
        in_child(exec, "raise ArithmeticError('no good\\nmore')", cwd=HERE, timeout=60)
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        in_child(time.sleep, 600.0, cwd=HERE, timeout=0.5)
    assert time.monotonic() - begun < 30
