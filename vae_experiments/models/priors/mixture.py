"""A mixture of Gaussians, all of it learned."""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from vae_experiments.models.bounds import smooth_bound
from vae_experiments.models.priors.base import Density, Encode, Prior
from vae_experiments.models.shapes import ImageShape

# |log variance| of a component stays below this, so its standard deviation above 0.05: narrower ones would
# make the expanded square of `log_prob` lose what float32 holds, and latents scale to what room they get.
LIMIT = 6.0

# How much of each dimension's unit variance the means begin with; the components' own variance is the rest.
# Apart enough to go separate ways, so close that the whole is nearly N(0, I).
SPREAD = 0.1


@dataclass(frozen=True)
class Mixture(Density):
    """The sum over k of weight_k N(loc_k, diag(exp(logvar_k))); loc and logvar [K, latent_dim], log_weights [K]."""

    loc: Tensor
    logvar: Tensor
    log_weights: Tensor

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        weights = self.log_weights.exp().to(generator.device)
        k = torch.multinomial(weights, n, replacement=True, generator=generator)
        noise = torch.randn(n, self.loc.shape[1], generator=generator, device=generator.device, dtype=self.loc.dtype)
        loc, scale = self.loc.to(generator.device), torch.exp(0.5 * self.logvar).to(generator.device)
        return loc[k] + scale[k] * noise

    def log_prob(self, z: Tensor) -> Tensor:
        """As `Density.log_prob`; the largest tensor made is [..., K].

        sum_d (z - loc)^2 / var is multiplied out, so that the sums over d are matrix products. What cancels
        in it grows with (|z| / sigma)^2: z is taken from the components' centre, sigma is bounded, and
        the products are float32 whatever the autocast type.
        """
        with torch.autocast(z.device.type, enabled=False):
            centre = self.loc.mean(0).detach()  # the result does not depend on it
            z, loc = z - centre, self.loc - centre
            precision = torch.exp(-self.logvar)
            squares = z.square() @ precision.T - 2 * z @ (loc * precision).T + (loc.square() * precision).sum(1)
            constants = self.log_weights - 0.5 * (self.logvar + math.log(2 * math.pi)).sum(1)
            return torch.logsumexp(constants - 0.5 * squares, -1)


class GaussianMixture(Prior):
    """K diagonal Gaussians with learned means, variances and weights; at first nearly N(0, I).

    Args:
        latent_dim: number of latent dimensions.
        image_shape: (C, H, W).
        components: K.
    """

    learned = True

    def __init__(self, latent_dim: int, image_shape: ImageShape, components: Annotated[int, Ge(1)] = 100) -> None:
        super().__init__(latent_dim, image_shape)
        self.loc = nn.Parameter(math.sqrt(SPREAD) * torch.randn(components, latent_dim))
        self.logvar = nn.Parameter(torch.full((components, latent_dim), math.log(1 - SPREAD)))
        self.logits = nn.Parameter(torch.zeros(components))

    def forward(self, encode: Encode) -> Mixture:
        return Mixture(self.loc, smooth_bound(self.logvar, LIMIT), torch.log_softmax(self.logits, 0))
