"""The whole config of a run, as typed objects."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Lt
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vae_experiments.config.construct import Later, construct
from vae_experiments.data.source import Source
from vae_experiments.evaluation.config import EvaluationConfig
from vae_experiments.figures.config import FiguresConfig
from vae_experiments.models.architectures import Architecture
from vae_experiments.models.likelihoods import Likelihood
from vae_experiments.models.posteriors import Posterior
from vae_experiments.models.priors import Prior
from vae_experiments.objectives import Objective
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.training.config import TrainerConfig
from vae_experiments.training.run import Hook
from vae_experiments.training.teacher import TeacherConfig


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What conf/train.yaml composes. Parts that need to know about others are built later, by the runner."""

    dataset: Source
    architecture: Architecture
    posterior: Annotated[Callable[..., Posterior], Later("features", "latent_dim")]
    prior: Annotated[Callable[..., Prior], Later("latent_dim", "image_shape")]
    likelihood: Likelihood
    objective: Objective
    optimizer: Annotated[Callable[..., Optimizer], Later("params")]
    trainer: TrainerConfig
    hooks: dict[str, Hook | None]
    figures: FiguresConfig
    evaluation: EvaluationConfig
    tracking: TrackingConfig
    scheduler: Annotated[Callable[..., LRScheduler], Later("optimizer")] | None = None
    teacher: TeacherConfig | None = None
    seed: Annotated[int, Ge(0), Lt(2**63)] = 0
    name: str | None = None

    @classmethod
    def of(cls, plain: Mapping[str, Any], trusted: Sequence[str] | None = None) -> "RunConfig":
        """The typed config of a composed one; InputError names the key that is wrong."""
        return construct(cls, plain, trusted=trusted)
