"""Approximate posteriors q(z | x): a module with the heads, and the distribution it makes of features.

A posterior draws from noise handed to it, never from a generator of its own: the same noise gives
the same latents whatever the batch size, the device or the number of processes.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

import torch
from annotated_types import Gt
from torch import Tensor, nn

from vae_experiments.models.initialization import init_glorot


class Distribution(Protocol):
    """The distribution q(z | x) of a batch of images."""

    @property
    def mean(self) -> Tensor:
        """Shape [B, latent_dim]: the code of each image."""

    def rsample(self, noise: Tensor) -> Tensor:
        """Latents [..., B, latent_dim] as a differentiable function of noise of the same shape."""

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z | x) in nats, [..., B]."""


@dataclass(frozen=True)
class DiagonalNormal:
    """N(mean, diag(exp(logvar))); both [B, latent_dim]."""

    mean: Tensor
    logvar: Tensor

    def rsample(self, noise: Tensor) -> Tensor:
        return self.mean + torch.exp(0.5 * self.logvar) * noise

    def log_prob(self, z: Tensor) -> Tensor:
        squared = (z - self.mean).square() * torch.exp(-self.logvar)
        return -0.5 * (squared + self.logvar + math.log(2 * math.pi)).sum(-1)

    def kl_to_standard_normal_per_dim(self) -> Tensor:
        """KL(q || N(0, 1)) of each latent dimension in nats, [B, latent_dim] (Kingma & Welling 2014, appendix B)."""
        return 0.5 * (self.mean.square() + torch.exp(self.logvar) - 1 - self.logvar)


def smooth_bound(x: Tensor, limit: float) -> Tensor:
    """Squeezes x into (-limit, limit): x / sqrt(1 + (x / limit)^2).

    The slope is 1 at zero and positive everywhere, where a clamp's would be zero outside its range
    and leave a log-variance that overshot once without a way back.
    """
    return x / torch.sqrt(1 + (x / limit).square())


class Posterior(nn.Module):
    """From the encoder's features to q(z | x). A subclass gives `forward` and `noise`."""

    latent_dim: int

    def forward(self, features: Tensor) -> Distribution:
        """Features [B, F] to the distributions of B images."""
        raise NotImplementedError

    def noise(self, n: int, generator: torch.Generator) -> Tensor:
        """Noise for `rsample` of n images, first axis n, on the generator's device."""
        raise NotImplementedError


class DiagonalGaussian(Posterior):
    """Two linear heads on the encoder's features: the mean and the spread of a diagonal Gaussian.

    Args:
        features: width of the encoder's output.
        latent_dim: number of latent dimensions.
        spread: what the second head's output s means: the log variance, or the log standard
            deviation (then the log variance is 2 s).
        limit: bound on |s|, approached smoothly; None leaves s unbounded.
        initial: s of every image at first, by zero weights and this bias. A narrow start keeps the first
            draws near the means, so that the decoder learns from them sooner; None starts like any layer.
    """

    def __init__(
        self,
        features: int,
        latent_dim: int,
        spread: Literal["logvar", "log_sigma"] = "logvar",
        limit: Annotated[float, Gt(0)] | None = 20.0,
        initial: float | None = -2.0,
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.spread = spread
        self.limit = limit
        self.mean = nn.Linear(features, latent_dim)
        self.log_scale = nn.Linear(features, latent_dim)
        init_glorot(self)
        if initial is not None:
            nn.init.zeros_(self.log_scale.weight)
            nn.init.constant_(self.log_scale.bias, initial)

    def forward(self, features: Tensor) -> DiagonalNormal:
        """Features [B, features] to q(z | x); computed in float32 whatever the autocast type."""
        s = self.log_scale(features).float()
        if self.limit is not None:
            s = smooth_bound(s, self.limit)
        return DiagonalNormal(self.mean(features).float(), s if self.spread == "logvar" else 2 * s)

    def noise(self, n: int, generator: torch.Generator) -> Tensor:
        """Standard normal, [n, latent_dim]."""
        return torch.randn(n, self.latent_dim, generator=generator, device=generator.device)
