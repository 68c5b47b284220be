"""A Gaussian whose latent dimensions are independent given the image."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Gt
from torch import Tensor, nn

from vae_experiments.models.bounds import smooth_bound
from vae_experiments.models.initialization import init_glorot
from vae_experiments.models.layers import Linear
from vae_experiments.models.posteriors.base import Distribution, Posterior


@dataclass(frozen=True)
class DiagonalNormal(Distribution):
    """N(loc, diag(exp(logvar))); both [B, latent_dim]."""

    loc: Tensor
    logvar: Tensor

    @property
    def mean(self) -> Tensor:
        return self.loc

    def rsample(self, noise: Tensor) -> Tensor:
        return self.loc + torch.exp(0.5 * self.logvar) * noise

    def log_prob(self, z: Tensor) -> Tensor:
        squared = (z - self.loc).square() * torch.exp(-self.logvar)
        return -0.5 * (squared + self.logvar + math.log(2 * math.pi)).sum(-1)

    def detach(self) -> "DiagonalNormal":
        return DiagonalNormal(self.loc.detach(), self.logvar.detach())

    def __getitem__(self, images: slice) -> "DiagonalNormal":
        return DiagonalNormal(self.loc[images], self.logvar[images])

    def kl_to_standard_normal(self) -> Tensor:
        return self.kl_to_standard_normal_per_dim().sum(-1)

    def kl_to_standard_normal_per_dim(self) -> Tensor:
        """KL(q || N(0, 1)) of each latent dimension in nats, [B, latent_dim] (Kingma & Welling 2014, appendix B)."""
        return 0.5 * (self.loc.square() + torch.exp(self.logvar) - 1 - self.logvar)


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
        self.mean = Linear(features, latent_dim)
        self.log_scale = Linear(features, latent_dim)
        init_glorot(self)
        if initial is not None:
            nn.init.zeros_(self.log_scale.weight)
            nn.init.constant_(self.log_scale.bias, initial)

    def forward(self, features: Tensor) -> DiagonalNormal:
        s = self.log_scale(features).float()
        if self.limit is not None:
            s = smooth_bound(s, self.limit)
        return DiagonalNormal(self.mean(features).float(), s if self.spread == "logvar" else 2 * s)
