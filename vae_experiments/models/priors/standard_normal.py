"""The prior that most VAEs have."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vae_experiments.models.posteriors import Distribution
from vae_experiments.models.priors.base import Density, Encode, Prior


@dataclass(frozen=True)
class UnitNormal(Density):
    """N(0, I) in `latent_dim` dimensions."""

    latent_dim: int

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.randn(n, self.latent_dim, generator=generator, device=generator.device)

    def log_prob(self, z: Tensor) -> Tensor:
        return -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)

    def kl(self, q: Distribution) -> Tensor | None:
        return q.kl_to_standard_normal()


class StandardNormal(Prior):
    """N(0, I)."""

    def forward(self, encode: Encode) -> UnitNormal:
        return UnitNormal(self.latent_dim)
