"""One training run's parts, handed to the loop and to every hook."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vae_experiments.data.batches import Batch, Images
from vae_experiments.data.prepare import ImageData
from vae_experiments.models.vae import VAE
from vae_experiments.objectives import Objective, Progress
from vae_experiments.training.config import TrainerConfig
from vae_experiments.training.hardware import Hardware
from vae_experiments.training.state import Metrics, TrainingState
from vae_experiments.training.world import World

if TYPE_CHECKING:
    from vae_experiments.training.teacher import Teacher


class Record(Protocol):
    """Where a run's results are kept. MLflow's side of it is in the tracking room."""

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None: ...

    def log_artifact(self, path: Path, folder: str = "") -> None: ...

    def log_image(self, image: NDArray[np.uint8], key: str, step: int) -> None: ...

    def log_models(self, vae: VAE) -> None: ...

    def set_tags(self, tags: Mapping[str, object]) -> None: ...

    def finish(self, status: Literal["FINISHED", "FAILED", "KILLED"]) -> bool: ...


@dataclass
class TrainingRun:
    """The parts of a run. Once it trains, only `state`, `stop` and `signum` change."""

    name: str
    seed: int
    batch_size: int
    objective: Objective
    trainer: TrainerConfig
    hooks: Sequence["Hook"]
    data: ImageData
    state: TrainingState
    hardware: Hardware
    world: World
    folder: Path
    record: Record
    identity: dict[str, Any]  # config and signature, stored with every checkpoint
    teacher: "Teacher | None" = None
    stop: bool = False  # set by a hook: train no further epoch
    signum: int = 0  # set by a signal's handler: save and leave

    @cached_property
    def images(self) -> Images:
        """The dataset's images, on the device."""
        layout = self.trainer.channels_last
        return Images(self.data.dataset.images, self.hardware.device, channels_last=layout)

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.data.parts.train) // self.batch_size)

    @property
    def steps(self) -> int:
        """Updates in the whole run."""
        return self.trainer.steps(self.steps_per_epoch)

    @property
    def epochs(self) -> int:
        """In the whole run; the last may be a short one."""
        return -(-self.steps // self.steps_per_epoch)

    @property
    def steps_of_epoch(self) -> int:
        """Updates in the epoch under way."""
        return min(self.steps_per_epoch, self.steps - self.state.epoch * self.steps_per_epoch)

    @property
    def progress(self) -> Progress:
        """How far it is, as schedules see it."""
        return Progress(self.state.step, self.steps_per_epoch, self.steps, len(self.data.parts.train))

    @property
    def done(self) -> bool:
        """Whether no epoch is left to train."""
        return self.stop or self.state.epoch >= self.epochs

    @property
    def metrics(self) -> Metrics:
        """Those of the last finished epoch."""
        return self.state.history[-1]

    def metrics_of(self, part: str, terms: Tensor) -> Metrics:
        """The objective's mean terms, [3 + others], as metrics of that part of the images."""
        loss, reconstruction, kl, *others = terms.tolist()
        elbo = -(reconstruction + kl)
        metrics = {"loss": loss, "reconstruction": reconstruction, "kl": kl, "elbo": elbo}
        if self.state.vae.likelihood.counts_bits(self.data.pixels):
            metrics["bits_per_dim"] = -elbo / math.log(2) / math.prod(self.state.vae.image_shape)
        metrics |= dict(zip(self.objective.others, others, strict=True))
        return {f"{part}/{name}": value for name, value in metrics.items()}

    def checkpoint(self) -> dict[str, Any]:
        """What a checkpoint of this moment holds."""
        return {**self.identity, "state": self.state.state_dict()}


class Hook:
    """Something that happens around training; a subclass overrides the moments it cares about.

    With several processes, only the first one has hooks.
    """

    def on_start(self, run: TrainingRun) -> None:
        """Before the first step, also after a resume."""

    def on_step(self, run: TrainingRun) -> None:
        """After every update."""

    def on_epoch_end(self, run: TrainingRun) -> None:
        """After an epoch's validation; `run.metrics` are its metrics."""

    def on_not_finite(self, run: TrainingRun, batch: Batch, loss: float) -> None:
        """Before the run stops because of a loss or a gradient that is not finite; no update was made."""

    def on_interrupt(self, run: TrainingRun) -> None:
        """Before the run stops because of a signal."""

    def on_end(self, run: TrainingRun) -> None:
        """When no epoch is left; the model's weights are those of the best epoch."""

    def on_close(self, run: TrainingRun) -> None:
        """However the run ended."""
