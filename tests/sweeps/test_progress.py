"""What a watcher reads while a job trains."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vae_experiments.runs.assemble import assemble
from vae_experiments.runs.config import RunConfig
from vae_experiments.runs.folder import RunFolder
from vae_experiments.sweeps.progress import Progress, ProgressFile, read_progress
from vae_experiments.training.loop import fit
from vae_experiments.training.run import Hook, TrainingRun
from vae_experiments.training.world import World

Composed = Callable[..., dict[str, Any]]


def make_run(config: dict[str, Any], *hooks: Hook) -> TrainingRun:
    run = assemble(RunConfig.of(config), config, RunFolder(Path.cwd()), World())
    run.hooks = hooks
    return run


class Watcher(Hook):
    """Reads the file at every moment, as the controller of a sweep may."""

    def __init__(self) -> None:
        self.seen: list[Progress | None] = []

    def on_start(self, run: TrainingRun) -> None:
        self.seen.append(read_progress(run.folder))

    on_step = on_epoch_end = on_start


def test_every_step_and_epoch_can_be_followed(composed: Composed) -> None:
    watcher = Watcher()
    run = make_run(composed(), ProgressFile(every_seconds=0), watcher)
    fit(run)  # two epochs of four steps
    places = [(p.epoch, p.batch) for p in watcher.seen if p]
    assert places == [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (1, 0), (1, 1), (1, 2), (1, 3), (1, 4), (2, 0)]
    begun, first, *_, after_last_step, ended = (p for p in watcher.seen if p)
    assert begun == Progress(0, 2, 0, 4, loss=None, seconds_left=None, history=[])
    assert first.seconds_left is not None
    assert first.seconds_left > 0
    # The mean over all images of the epoch is what the epoch's metrics call train/loss.
    assert after_last_step.loss == pytest.approx(run.state.history[1]["train/loss"], rel=1e-12)
    assert after_last_step.history == run.state.history[:1]
    assert ended == Progress(2, 2, 0, 4, loss=None, seconds_left=0.0, history=run.state.history)


def test_between_epochs_it_is_written_by_the_clock(composed: Composed) -> None:
    watcher = Watcher()
    fit(make_run(composed(), ProgressFile(every_seconds=1000), watcher))
    assert {(p.epoch, p.batch) for p in watcher.seen if p} == {(0, 0), (1, 0), (2, 0)}


def test_time_left_is_that_of_the_pace_since_this_process_started(composed: Composed) -> None:
    run = make_run(composed("trainer.max_epochs=10"))
    run.state.epoch, run.state.step = 5, 20  # resumed in the middle
    hook = ProgressFile(every_seconds=0)
    begun = time.monotonic()
    hook.on_start(run)
    started = time.monotonic()
    time.sleep(0.05)
    run.state.batch, run.state.step = 1, 21
    stepped = time.monotonic()
    hook.on_step(run)
    found = read_progress(run.folder)
    assert found is not None
    assert found.seconds_left is not None
    # One step was made and 19 are left; the five epochs before were another process's.
    assert 19 * (stepped - started) <= found.seconds_left <= 19 * (time.monotonic() - begun)


def test_a_run_that_exploded_reads_back(composed: Composed) -> None:
    run = make_run(composed())
    run.state.history.append({"val/elbo": float("-inf"), "train/loss": float("nan")})
    ProgressFile().on_start(run)
    found = read_progress(run.folder)
    assert found is not None
    assert found.history[0]["val/elbo"] == float("-inf")
    assert found.history[0]["train/loss"] != found.history[0]["train/loss"]


def test_a_folder_that_cannot_be_written_does_not_end_the_run(composed: Composed) -> None:
    run = make_run(composed(), ProgressFile(every_seconds=0))
    (run.folder / ".progress.json.part").mkdir()
    fit(run)
    assert run.state.epoch == 2
    assert read_progress(run.folder) is None


def test_writing_costs_less_than_a_millisecond(composed: Composed) -> None:
    run = make_run(composed())
    row = {f"some/metric_{i}": i / 7 for i in range(15)}
    run.state.history = [row] * 200
    hook = ProgressFile(every_seconds=0)
    hook.on_start(run)
    laps = []
    for _ in range(50):
        begun = time.perf_counter()
        hook.on_step(run)
        laps.append(time.perf_counter() - begun)
    assert min(laps) < 1e-3


WHOLE = (
    '{"epoch": 1, "max_epochs": 2, "batch": 0, "steps_per_epoch": 4, "loss": 1.5, "seconds_left": 2, "history": [{}]}'
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        WHOLE[:-2],
        WHOLE.replace("1,", '"one",'),
        WHOLE.replace("[{}]", "[3]"),
        '{"epoch": 1}',
        "\0" * 9,
    ],
)
def test_a_damaged_file_reads_as_none(text: str) -> None:
    path = Path("progress.json")
    path.write_text(WHOLE)
    assert read_progress(Path()) == Progress(1, 2, 0, 4, 1.5, 2.0, [{}])
    path.write_text(text)
    assert read_progress(Path()) is None


def test_no_file_reads_as_none() -> None:
    assert read_progress(Path()) is None
    assert read_progress(Path("nowhere")) is None


def test_what_is_written_is_what_json_reads(composed: Composed) -> None:
    run = make_run(composed())
    fit(replace(run, hooks=[ProgressFile()]))
    text = Path("progress.json").read_text()
    assert set(json.loads(text)) == set(Progress.__dataclass_fields__)
