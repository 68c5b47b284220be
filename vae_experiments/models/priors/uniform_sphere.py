"""The prior of latents on a sphere."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from vae_experiments.errors import InputError
from vae_experiments.models.posteriors import Distribution
from vae_experiments.models.priors.base import Density, Encode, Prior
from vae_experiments.models.shapes import ImageShape
from vae_experiments.models.sphere import log_area


@dataclass(frozen=True)
class Uniform(Density):
    """The same density everywhere on the unit sphere in R^latent_dim."""

    latent_dim: int

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return normalize(torch.randn(n, self.latent_dim, generator=generator, device=generator.device), dim=-1)

    def log_prob(self, z: Tensor) -> Tensor:
        """As `Density.log_prob`, with respect to the sphere's area; z is taken to lie on it."""
        return z.new_full(z.shape[:-1], -log_area(self.latent_dim))

    def kl(self, q: Distribution) -> Tensor | None:
        return q.kl_to_uniform()


class UniformSphere(Prior):
    """The uniform distribution on the unit sphere S^{latent_dim-1} in R^latent_dim.

    Davidson et al. (2018) count the sphere's own dimensions: their d is latent_dim - 1.

    Args:
        latent_dim: of the space around the sphere, at least 2.
        image_shape: (C, H, W).

    Raises:
        InputError: latent_dim is 1.
    """

    space = "sphere"

    def __init__(self, latent_dim: int, image_shape: ImageShape) -> None:
        super().__init__(latent_dim, image_shape)
        if latent_dim < 2:
            raise InputError(
                f"architecture.latent_dim={latent_dim}: a sphere in one dimension is two points; "
                "prior=uniform_sphere needs two dimensions at least, and 3 for the ordinary sphere"
            )

    def forward(self, encode: Encode) -> Uniform:
        return Uniform(self.latent_dim)

    def centre(self) -> Tensor:
        """A point of the sphere, equally far from all axes."""
        return torch.full((self.latent_dim,), 1 / math.sqrt(self.latent_dim))

    def between(self, a: Tensor, b: Tensor, share: Tensor) -> Tensor:
        """As `Prior.between`, along the shorter arc of a great circle; one of them where a and b are opposite."""
        # In float64, which keeps the direction of b from a where they are nearly opposite.
        start, end = normalize(a.double(), dim=-1), normalize(b.double(), dim=-1)
        apart = 2 * torch.atan2((start - end).norm(dim=-1, keepdim=True), (start + end).norm(dim=-1, keepdim=True))
        least = one_hot(start.abs().argmin(-1), self.latent_dim).to(start)  # an axis that is far from both
        side = end - start * (start * end).sum(-1, keepdim=True)
        side = torch.where(side.norm(dim=-1, keepdim=True) < 1e-12, least - start * (start * least).sum(-1, True), side)
        return (torch.cos(share * apart) * start + torch.sin(share * apart) * normalize(side, dim=-1)).to(a)

    def nearest(self, z: Tensor) -> Tensor:
        """z scaled to length 1; of the origin, from which all points are equally far, `centre`."""
        at_origin = z.abs().amax(-1, keepdim=True) < 1e-6  # of what is shorter, float32 says little
        return normalize(torch.where(at_origin, self.centre().to(z), z), dim=-1)
