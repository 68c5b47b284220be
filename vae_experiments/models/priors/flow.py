"""A standard normal, bent by a normalizing flow."""

import math
from dataclasses import dataclass
from typing import Annotated, cast

import torch
from annotated_types import Ge
from torch import Tensor, nn

from vae_experiments.errors import InputError
from vae_experiments.models.flows.coupling import AffineCoupling, alternating_masks
from vae_experiments.models.priors.base import Density, Encode, Prior
from vae_experiments.models.shapes import ImageShape


@dataclass(frozen=True)
class Flow(Density):
    """What the couplings, the last one first, make of N(0, I) in `latent_dim` dimensions.

    Everything is computed in the couplings' own type, whatever the autocast type: the inverse would
    not undo what bfloat16 rounds.
    """

    couplings: list[AffineCoupling]
    latent_dim: int

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        z = torch.randn(n, self.latent_dim, generator=generator, device=generator.device)
        z = z.to(next(self.couplings[0].parameters()))
        with torch.autocast(z.device.type, enabled=False):
            for coupling in reversed(self.couplings):
                z = coupling.inverse(z)
        return z.to(generator.device)

    def log_prob(self, z: Tensor) -> Tensor:
        log_det = torch.zeros(())
        with torch.autocast(z.device.type, enabled=False):
            for coupling in self.couplings:
                z, change = coupling(z)
                log_det = log_det + change
        return log_det - 0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)


class RealNVP(Prior):
    """A stack of affine couplings between the latents and N(0, I) (Dinh et al. 2017); at first N(0, I) itself.

    Args:
        latent_dim: number of latent dimensions, at least 2: a coupling moves some by the others.
        image_shape: (C, H, W).
        layers: number of couplings; each moves half of the dimensions.
        hidden: width of the two hidden layers of each.

    Raises:
        InputError: latent_dim is 1.
    """

    learned = True

    def __init__(
        self,
        latent_dim: int,
        image_shape: ImageShape,
        layers: Annotated[int, Ge(2)] = 8,
        hidden: Annotated[int, Ge(1)] = 128,
    ) -> None:
        super().__init__(latent_dim, image_shape)
        if latent_dim < 2:
            raise InputError(
                f"architecture.latent_dim={latent_dim}: prior=realnvp moves some latent dimensions by the others and "
                "needs two at least; prior=mixture bends a single one"
            )
        self.couplings = nn.ModuleList(AffineCoupling(mask, hidden) for mask in alternating_masks(latent_dim, layers))

    def forward(self, encode: Encode) -> Flow:
        return Flow(cast(list[AffineCoupling], list(self.couplings)), self.latent_dim)
