"""A Gaussian whose latent dimensions vary together."""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor, nn

from vae_experiments.errors import InputError
from vae_experiments.models.bounds import smooth_bound
from vae_experiments.models.initialization import init_glorot
from vae_experiments.models.layers import Linear
from vae_experiments.models.posteriors.base import Distribution, Posterior


@dataclass(frozen=True)
class FullNormal(Distribution):
    """N(loc, L L^T) with L = diag(exp(logvar / 2)) (I + mixing).

    A row's mixing is in units of its scale, so that a narrow dimension is as well conditioned as a wide one.

    Args:
        loc: [B, latent_dim].
        logvar: of each dimension given those before it, [B, latent_dim].
        mixing: strictly lower triangular, [B, latent_dim, latent_dim].
    """

    loc: Tensor
    logvar: Tensor
    mixing: Tensor

    @property
    def mean(self) -> Tensor:
        return self.loc

    def rsample(self, noise: Tensor) -> Tensor:
        # The product spelled out, since autocast would make a matrix product of it in bfloat16.
        mixed = noise + (self.mixing * noise[..., None, :]).sum(-1)
        return self.loc + torch.exp(0.5 * self.logvar) * mixed

    def log_prob(self, z: Tensor) -> Tensor:
        scaled = (z - self.loc) * torch.exp(-0.5 * self.logvar)
        # One system per image with all of its latents as columns: [..., B, D] to [B, D, ...] and back.
        columns = scaled.flatten(0, -3).permute(1, 2, 0) if scaled.dim() > 2 else scaled[..., None]
        factor = self.mixing.expand(columns.shape[0], -1, -1)
        with torch.autocast(z.device.type, enabled=False):
            noise = torch.linalg.solve_triangular(factor, columns, upper=False, unitriangular=True)
        return self._log_prob(noise.permute(2, 0, 1).reshape(scaled.shape))

    def draw(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        return self.rsample(noise), self._log_prob(noise)

    def _log_prob(self, noise: Tensor) -> Tensor:
        """As `log_prob`, of the latents that `rsample` makes of the noise."""
        return -0.5 * (noise.square() + self.logvar + math.log(2 * math.pi)).sum(-1)

    def kl_to_standard_normal(self) -> Tensor:
        variance = torch.exp(self.logvar) * (1 + self.mixing.square().sum(-1))
        return 0.5 * (self.loc.square() + variance - 1 - self.logvar).sum(-1)

    def detach(self) -> "FullNormal":
        return FullNormal(self.loc.detach(), self.logvar.detach(), self.mixing.detach())

    def __getitem__(self, images: slice) -> "FullNormal":
        return FullNormal(self.loc[images], self.logvar[images], self.mixing[images])


class FullGaussian(Posterior):
    """Three linear heads on the encoder's features: the mean, and the two parts of a Cholesky factor.

    At first the dimensions are independent, as in `DiagonalGaussian`.

    Args:
        features: width of the encoder's output.
        latent_dim: number of latent dimensions, at least 2.
        limit: bound on |log variance| of each dimension given those before it, approached smoothly.
        initial: that log variance, of every image, at first.

    Raises:
        InputError: latent_dim is 1.
    """

    def __init__(
        self, features: int, latent_dim: int, limit: Annotated[float, Gt(0)] = 20.0, initial: float = -2.0
    ) -> None:
        super().__init__()
        if latent_dim < 2:
            raise InputError(
                f"architecture.latent_dim={latent_dim}: posterior=full_gaussian ties latent dimensions together and "
                "needs two at least; posterior=gaussian is the same for a single one"
            )
        self.latent_dim = latent_dim
        self.limit = limit
        self.mean = Linear(features, latent_dim)
        self.log_scale = Linear(features, latent_dim)
        self.mixing = Linear(features, latent_dim * (latent_dim - 1) // 2)
        init_glorot(self)
        for head in (self.log_scale, self.mixing):
            nn.init.zeros_(head.weight)
        nn.init.constant_(self.log_scale.bias, initial)

    def forward(self, features: Tensor) -> FullNormal:
        below = self.mixing(features).float()
        rows, columns = torch.tril_indices(self.latent_dim, self.latent_dim, -1, device=below.device)
        mixing = below.new_zeros(below.shape[0], self.latent_dim, self.latent_dim)
        mixing[:, rows, columns] = below
        logvar = smooth_bound(self.log_scale(features).float(), self.limit)
        return FullNormal(self.mean(features).float(), logvar, mixing)
