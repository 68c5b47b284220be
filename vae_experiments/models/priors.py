"""Priors p(z): what the posterior is pulled towards, and what new images are drawn from."""

import math

import torch
from torch import Tensor, nn

from vae_experiments.models.posteriors import DiagonalNormal, Distribution


class Prior(nn.Module):
    """p(z) over latents [..., latent_dim]. A subclass gives `sample` and `log_prob`."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """n latents, [n, latent_dim], on the generator's device."""
        raise NotImplementedError

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) in nats, [...] for z [..., latent_dim]."""
        raise NotImplementedError

    def kl(self, posterior: Distribution, z: Tensor) -> Tensor:
        """KL(q(z | x) || p(z)) in nats per image, [B].

        Here the one-sample estimate at z ~ q, [B, latent_dim]; a prior with a closed form overrides it.
        """
        return posterior.log_prob(z) - self.log_prob(z)


class StandardNormal(Prior):
    """N(0, I)."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.randn(n, self.latent_dim, generator=generator, device=generator.device)

    def log_prob(self, z: Tensor) -> Tensor:
        return -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)

    def kl(self, posterior: Distribution, z: Tensor) -> Tensor:
        if isinstance(posterior, DiagonalNormal):
            return posterior.kl_to_standard_normal_per_dim().sum(-1)
        return super().kl(posterior, z)
