"""What runs of the bench are watched by, named on their command line, and the memory map that one trains on."""

import json
import os
import time
from collections import defaultdict
from dataclasses import dataclass
from functools import wraps
from pathlib import Path

import numpy as np
import psutil

from vae_experiments.data.dataset import ImageDataset
from vae_experiments.data.source import Source
from vae_experiments.training.run import Hook, TrainingRun

WARM_UP = 50  # steps
MOMENTS = ("on_step", "on_epoch_end", "on_end")


@dataclass(kw_only=True)
class FirstStep(Hook):
    """Ends the process after the first update."""

    def on_step(self, run: TrainingRun) -> None:
        os._exit(0)


@dataclass(kw_only=True)
class Rate(Hook):
    """Writes the images per second of some steps after a warm-up to a file, and ends the process.

    Args:
        path: the file.
        steps: how many.
    """

    path: str
    steps: int

    def on_step(self, run: TrainingRun) -> None:
        if run.state.step == WARM_UP:
            self._before = time.perf_counter()
        elif run.state.step == WARM_UP + self.steps:
            rate = self.steps * run.batch_size / (time.perf_counter() - self._before)
            Path(self.path).write_text(json.dumps(rate))
            os._exit(0)


@dataclass(kw_only=True)
class Memory(Hook):
    """Writes the resident memory after each epoch, bytes, to a file.

    Args:
        path: the file.
    """

    path: str

    def on_start(self, run: TrainingRun) -> None:
        self._resident: list[int] = []

    def on_epoch_end(self, run: TrainingRun) -> None:
        self._resident.append(psutil.Process().memory_info().rss)

    def on_end(self, run: TrainingRun) -> None:
        Path(self.path).write_text(json.dumps(self._resident))


@dataclass(kw_only=True)
class Upkeep(Hook):
    """Writes to a file how many seconds each other hook took, and the run from its first step on.

    Args:
        path: the file.
    """

    path: str

    def on_start(self, run: TrainingRun) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)
        for hook in run.hooks:
            if hook is not self:
                self._time(hook)
        self._begun = time.perf_counter()

    def on_close(self, run: TrainingRun) -> None:
        whole = time.perf_counter() - self._begun
        Path(self.path).write_text(json.dumps({"whole": whole, "epochs": run.epochs, "hooks": self._seconds}))

    def _time(self, hook: Hook) -> None:
        for moment in MOMENTS:
            called = getattr(hook, moment)

            @wraps(called)
            def timed(run: TrainingRun, called: object = called, name: str = type(hook).__name__) -> None:
                before = time.perf_counter()
                try:
                    called(run)  # type: ignore[operator]
                finally:
                    self._seconds[name] += time.perf_counter() - before

            setattr(hook, moment, timed)


@dataclass(frozen=True, kw_only=True)
class Mapped(Source):
    """A file of grey images of 28 x 28, one after the other.

    Args:
        path: the file.
        in_memory: read it instead of mapping it.
    """

    path: str
    in_memory: bool

    def load(self) -> ImageDataset:
        images = np.memmap(self.path, dtype=np.uint8, mode="r").reshape(-1, 1, 28, 28)
        held = np.array(images) if self.in_memory else images
        return ImageDataset("mapped", held, np.zeros(len(held), np.int64), {0: "none"}, pixel_digest="unknown")


@dataclass(kw_only=True)
class LastEpoch(Hook):
    """Writes the monitored metric after the last epoch, the seconds from the first step to there, and those of each
    epoch's training to a file.

    Args:
        path: the file.
    """

    path: str

    def on_start(self, run: TrainingRun) -> None:
        self._begun = time.perf_counter()

    def on_epoch_end(self, run: TrainingRun) -> None:
        seconds = time.perf_counter() - self._begun
        epochs = [metrics["time/epoch_seconds"] for metrics in run.state.history]
        reached = {"value": run.metrics[run.trainer.monitor], "seconds": seconds, "epochs": epochs}
        Path(self.path).write_text(json.dumps(reached))
