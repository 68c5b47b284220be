"""The progress of a run: a live bar on a terminal, plain lines elsewhere."""

import logging
import time
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Gt
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from vae_experiments.console import console
from vae_experiments.training.run import Hook, TrainingRun

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class ProgressDisplay(Hook):
    """Epoch, loss, images per second and time left while training; a line of metrics after every epoch.

    Args:
        every_seconds: between two lines where there is no terminal to draw a bar on.
    """

    every_seconds: Annotated[float, Gt(0)] = 15.0

    def __post_init__(self) -> None:
        self._bar: Progress | None = None

    def on_start(self, run: TrainingRun) -> None:
        state = run.state
        self._done = state.epoch * len(run.data.parts.train) + state.images
        self._begun = self._last = time.monotonic()
        if console.is_terminal and not run.done:
            self._bar = Progress(
                TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[text]}"),
                console=console, transient=True, refresh_per_second=4,
            )  # fmt: skip
            self._bar.start()
            self._task = self._bar.add_task("", total=run.steps_of_epoch, text="")

    def on_step(self, run: TrainingRun) -> None:
        now = time.monotonic()
        if now - self._last < (0.25 if self._bar else self.every_seconds):
            return
        self._last = now
        title = f"epoch {run.state.epoch + 1}/{run.epochs}"
        if self._bar:
            self._bar.update(
                self._task, description=title, total=run.steps_of_epoch, completed=run.state.batch,
                text=self._figures(run, now),
            )  # fmt: skip
        else:
            share = run.state.batch / run.steps_of_epoch
            log.info("%s %3.0f%%  %s", title, 100 * share, self._figures(run, now))

    def on_epoch_end(self, run: TrainingRun) -> None:
        m = run.metrics
        best = "  best" if run.state.best_epoch == run.state.epoch else ""
        log.info(
            "epoch %d/%d  train loss %.4g  val loss %.4g  elbo %.2f (reconstruction %.2f, kl %.2f)  "
            "%.0f images/s  %s%s",
            run.state.epoch, run.epochs, m["train/loss"], m["val/loss"], m["val/elbo"],
            m["val/reconstruction"], m["val/kl"], m["time/images_per_second"], _clock(m["time/epoch_seconds"]), best,
        )  # fmt: skip

    def on_close(self, run: TrainingRun) -> None:
        if self._bar:
            self._bar.stop()

    def _figures(self, run: TrainingRun, now: float) -> str:
        state, per_epoch = run.state, len(run.data.parts.train)
        seen = state.epoch * per_epoch + state.images
        rate = max(seen - self._done, 1) / max(now - self._begun, 1e-9)
        left = (run.steps - state.step) * run.batch_size / rate
        return f"loss {state.sums[0].item() / state.images:.4g}  {rate:.0f} images/s  {_clock(left)} left"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
