"""A small network lays out the latent space within seconds, and a larger one learns with that layout at hand."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vae_experiments.config.construct import Later
from vae_experiments.models.architectures import Architecture
from vae_experiments.models.posteriors import Distribution
from vae_experiments.objectives import LinearWarmup, Progress, Schedule

if TYPE_CHECKING:
    from vae_experiments.training.run import TrainingRun


@dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """A small network that is trained before the run's own, with the same posterior, prior, likelihood and objective.

    A convolutional network spends most of a short run, and much of its luck, on where in the latent space each kind
    of image is to lie. A small one settles that at a fraction of the cost. While the run's network learns, its latents
    are pulled to the small one's: `pull` times their squared distance is added to the loss that is minimised, less and
    less. What is logged, and what is compared with other runs, is the loss without it.

    Args:
        architecture: the small network; its batch size is that of its own training.
        optimizer: of the small network.
        scheduler: of that optimizer's rates.
        steps: updates of the small network.
        pull: the weight in the beginning, in nats per image.
        until: the share of the run after which it is zero; it goes there in a straight line.
    """

    architecture: Architecture
    optimizer: Annotated[Callable[..., Optimizer], Later("params")]
    scheduler: Annotated[Callable[..., LRScheduler], Later("optimizer")] | None = None
    steps: Annotated[int, Ge(1)] = 2000
    pull: Annotated[float, Gt(0)] = 80.0
    until: Annotated[float, Gt(0), Le(1)] = 0.8

    def weight(self, nat: float) -> Schedule:
        """Of the squared distance, in the run that is taught; a nat per image is so much in its loss's unit."""
        return LinearWarmup(start=self.pull * nat, end=0.0, length=self.until, unit="run")


@dataclass(frozen=True)
class Teacher:
    """The small network at work."""

    run: "TrainingRun"  # its own training
    weight: Schedule

    def is_needed(self, progress: Progress) -> bool:
        """Whether it still pulls at that point of the run that is taught."""
        return self.weight(progress) > 0

    def penalty(self, x: Tensor, q: Distribution, progress: Progress) -> Tensor | None:
        """What is added to the loss of images x [B, C, H, W] whose posterior is q, [B]; None when that is over."""
        weight = progress.value(self.weight)
        if not isinstance(weight, Tensor) and weight == 0:
            return None
        with torch.no_grad():
            mean = self.run.state.vae.encode(x).mean.float()
        return weight * (q.mean - mean).square().sum(-1)
