"""What an objective returns, and what an objective is."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from vae_experiments.errors import InputError
from vae_experiments.models.vae import VAE
from vae_experiments.objectives.schedules import Progress, Schedule


class Terms(NamedTuple):
    """The terms of a batch, one value per image, each [B]."""

    loss: Tensor  # what is minimised, in the objective's unit
    reconstruction: Tensor  # -log p(x | z), nats
    kl: Tensor  # KL(q(z | x) || p(z)), nats
    others: Mapping[str, Tensor] = {}  # those that `Objective.others` names

    def named(self) -> dict[str, Tensor]:
        """All of them by name, the three first."""
        return {"loss": self.loss, "reconstruction": self.reconstruction, "kl": self.kl, **self.others}


@dataclass(frozen=True, kw_only=True)
class Objective(ABC):
    """What training minimises; its fields are its settings.

    Whatever `loss` is, `reconstruction` and `kl` are the two parts of the evidence lower bound at
    weight 1, so that -(reconstruction + kl) compares runs of different objectives.
    """

    unit: ClassVar[str] = "nats per image"
    others: ClassVar[tuple[str, ...]] = ()  # further terms, logged beside the three; always all, in this order
    couples_images: ClassVar[bool] = False  # whether an image's loss depends on the rest of its batch

    def nat(self, vae: VAE) -> float:
        """What one nat per image of that model is in `unit`."""
        return 1.0

    @property
    def draws(self) -> int:
        """Latents per image."""
        return 1

    def noise(self, vae: VAE, n: int, generator: torch.Generator) -> Tensor:
        """The random numbers that n images need, first axis n: processes share a batch out along it."""
        return vae.posterior.noise(n, generator)

    def check(self, vae: VAE) -> None:
        """Raises InputError when this objective cannot train that model."""

    def require_learning(self, vae: VAE, setting: str) -> None:
        """Raises InputError where a prior has something to learn and the weight of the KL term, that setting, is 0."""
        if vae.prior.learned and getattr(self, setting) == 0:
            raise InputError(
                f"objective={type(self).__name__.lower()}: with {setting}=0 the prior {type(vae.prior).__name__} would "
                f"never learn anything; set objective.{setting}=0.1, say, or prior=standard_normal"
            )

    @abstractmethod
    def __call__(self, vae: VAE, x: Tensor, noise: Tensor, progress: Progress) -> Terms:
        """The terms of images x [B, C, H, W] in [0, 1], at that point of the training."""

    def kl_weight_at(self, progress: Progress) -> float | None:
        """What the KL term is multiplied with at that point of the training; None where there is no such weight."""
        weight = getattr(self, "kl_weight", None)
        return weight(progress) if isinstance(weight, Schedule) else weight

    @property
    def schedules(self) -> dict[str, Schedule]:
        """The settings that move with training."""
        settings = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in settings.items() if isinstance(value, Schedule)}

    def scheduled(self, progress: Progress) -> dict[str, float]:
        """Their values at that point of the training."""
        return {name: schedule(progress) for name, schedule in self.schedules.items()}
