"""Hooks that record: metrics after every epoch, checkpoints and models at the end."""

import logging
from dataclasses import dataclass

from vae_experiments.errors import RunFailed
from vae_experiments.training.checkpoints import BEST, LAST
from vae_experiments.training.run import Hook, TrainingRun

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class LogMetrics(Hook):
    """Each epoch's metrics, as one batch with the epoch (from 1) as step."""

    def on_start(self, run: TrainingRun) -> None:
        # An epoch saved just before a crash may not have been logged; what has been is not logged again.
        for epoch, metrics in enumerate(run.state.history, start=1):
            run.record.log_metrics(metrics, epoch)

    def on_epoch_end(self, run: TrainingRun) -> None:
        run.record.log_metrics(run.metrics, run.state.epoch)


@dataclass(kw_only=True)
class LogModels(Hook):
    """The encoder and the decoder as two MLflow models, to be loaded or served."""

    def on_end(self, run: TrainingRun) -> None:
        try:
            run.record.log_models(run.state.vae)
        except RunFailed:
            raise
        except Exception as error:  # torch.export does not take every network; the checkpoints do
            log.warning("encoder and decoder are not logged as MLflow models: %s", error, exc_info=True)


@dataclass(kw_only=True)
class LogCheckpoints(Hook):
    """The best and the last checkpoint, at the end."""

    def on_end(self, run: TrainingRun) -> None:
        for name in (BEST, LAST):
            path = run.folder / "checkpoints" / name
            if path.exists():
                run.record.log_artifact(path, "checkpoints")
