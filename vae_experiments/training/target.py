"""How long a run takes to become as good as it is asked to be."""

import logging
import time
from dataclasses import dataclass

from vae_experiments.training.run import Hook, TrainingRun

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Target(Hook):
    """Says, and logs as `time/to_target_seconds`, when the monitored metric reached a value for the first time.

    Seconds count from just before the first step and hold all that lies in between: validation, other hooks. A run
    that was resumed has no such time.

    Args:
        value: of `trainer.monitor`.
    """

    value: float

    def on_start(self, run: TrainingRun) -> None:
        self._begun = time.perf_counter()
        self._measures = run.state.step == 0
        self._reached = False

    def on_epoch_end(self, run: TrainingRun) -> None:
        seconds = time.perf_counter() - self._begun
        monitor = run.trainer.monitor
        if self._measures and not self._reached and not run.trainer.better(self.value, run.metrics[monitor]):
            self._reached = True
            log.info("%s %.4f, which was to be %.4g: %.1f s after the first step", monitor, run.metrics[monitor],
                     self.value, seconds)  # fmt: skip
            run.record.log_metrics({"time/to_target_seconds": seconds}, run.state.epoch)

    def on_end(self, run: TrainingRun) -> None:
        if self._measures and not self._reached:
            log.warning("%s never was %.4g", run.trainer.monitor, self.value)
