"""What an objective returns, and what an objective is."""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from vae_experiments.models.vae import VAE


class Terms(NamedTuple):
    """The terms of a batch, one value per image, each [B]."""

    loss: Tensor  # what is minimised, in the objective's unit
    reconstruction: Tensor  # -log p(x | z), nats
    kl: Tensor  # KL(q(z | x) || p(z)), nats


class Objective(ABC):
    """What training minimises.

    Whatever `loss` is, `reconstruction` and `kl` are the two parts of the evidence lower bound at
    weight 1, so that -(reconstruction + kl) compares runs of different objectives.
    """

    unit: ClassVar[str] = "nats per image"

    def noise(self, vae: VAE, n: int, generator: torch.Generator) -> Tensor:
        """The random numbers that n images need, first axis n: processes share a batch out along it."""
        return vae.posterior.noise(n, generator)

    def check(self, vae: VAE) -> None:
        """Raises InputError when this objective cannot train that model."""

    @abstractmethod
    def __call__(self, vae: VAE, x: Tensor, noise: Tensor, step: int) -> Terms:
        """The terms of images x [B, C, H, W] in [0, 1] at training step `step` (from 0)."""
