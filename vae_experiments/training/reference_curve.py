"""Somebody else's learning curve, shown and recorded beside the run's own."""

import logging
from dataclasses import dataclass

from vae_experiments.training.run import Hook, TrainingRun

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class ReferenceCurve(Hook):
    """Prints the reference's loss of each epoch beside ours, and logs it as `<name>/train_loss`, `<name>/val_loss`.

    Args:
        name: what the reference is called.
        train: its training loss, epoch by epoch, in the unit of the run's objective.
        val: its validation loss.
    """

    name: str
    train: list[float]
    val: list[float]

    def on_start(self, run: TrainingRun) -> None:
        for epoch in range(1, run.state.epoch + 1):  # one that was saved just before a crash may not have been logged
            self._record(run, epoch)

    def on_epoch_end(self, run: TrainingRun) -> None:
        epoch = run.state.epoch
        self._record(run, epoch)
        if epoch > min(len(self.train), len(self.val)):
            return
        train, val = self.train[epoch - 1], self.val[epoch - 1]
        log.info(
            "epoch %d  train loss %.4f (%s: %.4f)  val loss %.4f (%s: %.4f)",
            epoch, run.metrics["train/loss"], self.name, train, run.metrics["val/loss"], self.name, val,
        )  # fmt: skip

    def _record(self, run: TrainingRun, epoch: int) -> None:
        if epoch <= min(len(self.train), len(self.val)):
            train, val = self.train[epoch - 1], self.val[epoch - 1]
            run.record.log_metrics({f"{self.name}/train_loss": train, f"{self.name}/val_loss": val}, epoch)
