"""How far a job is: written by its process as it trains, read by whoever watches the sweep."""

import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pydantic
from annotated_types import Ge

from vae_experiments.training.run import Hook, TrainingRun
from vae_experiments.training.state import Metrics

NAME = "progress.json"


@dataclass(frozen=True)
class Progress:
    """What progress.json holds.

    Args:
        epoch: finished epochs.
        max_epochs: of the whole run.
        batch: finished batches of the epoch under way.
        steps_per_epoch: batches in an epoch.
        loss: mean training loss of the epoch so far; None at its beginning.
        seconds_left: estimate, from the pace since the process started; None before there is one.
        history: each finished epoch's metrics, oldest first.
    """

    epoch: int
    max_epochs: int
    batch: int
    steps_per_epoch: int
    loss: float | None
    seconds_left: float | None
    history: list[Metrics]


# A damaged file must not end the one who watches: every field is checked.
_CHECKED = pydantic.TypeAdapter(Progress)


@dataclass(kw_only=True)
class ProgressFile(Hook):
    """Keeps progress.json in the run's folder.

    It is written for people who watch: not synced to the disk, and a write that fails (a full disk) is
    made up for by the next one.

    Args:
        every_seconds: between two writes within an epoch.
    """

    every_seconds: Annotated[float, Ge(0)] = 0.5

    def on_start(self, run: TrainingRun) -> None:
        self._begun = time.monotonic()
        self._steps_before = run.state.step
        self._rows: list[str] = []
        self._write(run)

    def on_step(self, run: TrainingRun) -> None:
        if time.monotonic() - self._written >= self.every_seconds:
            self._write(run)

    def on_epoch_end(self, run: TrainingRun) -> None:
        self._write(run)

    def on_close(self, run: TrainingRun) -> None:
        self._write(run)  # once more, should the last have failed

    def _write(self, run: TrainingRun) -> None:
        state = run.state
        head = {
            "epoch": state.epoch,
            "max_epochs": run.epochs,
            "batch": state.batch,
            "steps_per_epoch": run.steps_per_epoch,
            "loss": state.sums[0].item() / state.images if state.images else None,
            "seconds_left": self._seconds_left(run),
        }
        # A finished epoch's row never changes: after hundreds of epochs, making them all anew would cost.
        self._rows += [json.dumps(row) for row in state.history[len(self._rows) :]]
        text = f'{json.dumps(head)[:-1]}, "history": [{", ".join(self._rows)}]}}\n'
        part = run.folder / f".{NAME}.part"
        with suppress(OSError):
            part.write_text(text)
            os.replace(part, run.folder / NAME)
        self._written = time.monotonic()

    def _seconds_left(self, run: TrainingRun) -> float | None:
        """Everything since the start counts, validation and pictures too: they come again with each epoch."""
        done = run.state.step - self._steps_before
        left = run.steps - run.state.step
        if run.done or left <= 0:
            return 0.0
        return left * (time.monotonic() - self._begun) / done if done else None


def read_progress(folder: Path) -> Progress | None:
    """What the job in `folder` last wrote; None where there is nothing, or nothing that can be read."""
    try:
        return _CHECKED.validate_json((folder / NAME).read_bytes())
    except (OSError, pydantic.ValidationError):
        return None
