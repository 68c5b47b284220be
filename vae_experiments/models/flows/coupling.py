"""Affine couplings: maps with a triangular Jacobian that are as cheap to invert as to apply."""

import torch
from torch import Tensor, nn

from vae_experiments.models.bounds import smooth_bound
from vae_experiments.models.initialization import init_glorot

# |log scale| of one layer stays below this, which a few layers together still turn into any spread;
# unbounded, one bad step early on overflows the exponential.
LIMIT = 2.0


class AffineCoupling(nn.Module):
    """Scales and shifts the dimensions outside a mask by functions of those inside (Dinh et al. 2017).

    At first the identity: the last layer of the network begins at zero.

    Args:
        mask: bool [dims], True for the dimensions that pass unchanged.
        hidden: width of the network's two hidden layers.
    """

    mask: Tensor

    def __init__(self, mask: Tensor, hidden: int) -> None:
        super().__init__()
        self.register_buffer("mask", mask, persistent=False)  # the construction alone decides it
        last = nn.Linear(hidden, 2 * len(mask))
        self.network = nn.Sequential(
            nn.Linear(len(mask), hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), last
        )
        init_glorot(self.network)
        nn.init.zeros_(last.weight)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """z [..., dims] to its image and the log of the Jacobian's determinant, [...]."""
        log_scale, shift = self._coefficients(z)
        return z * log_scale.exp() + shift, log_scale.sum(-1)

    def inverse(self, y: Tensor) -> Tensor:
        """The z whose image is y, both [..., dims]."""
        log_scale, shift = self._coefficients(y)
        return (y - shift) * (-log_scale).exp()

    def _coefficients(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Log scales and shifts, [..., dims], zero inside the mask: the same for z and for its image."""
        raw, shift = self.network(z.masked_fill(~self.mask, 0)).chunk(2, -1)
        return smooth_bound(raw, LIMIT).masked_fill(self.mask, 0), shift.masked_fill(self.mask, 0)


def alternating_masks(dims: int, layers: int) -> list[Tensor]:
    """Masks for a stack of couplings, bool [dims] each: even, odd, first half, second half, and again.

    A mask is followed by its complement, so that two layers move every dimension; two ways of halving let
    dimensions meet that one would keep on the same side for good.
    """
    i = torch.arange(dims)
    even, first = i % 2 == 0, i < (dims + 1) // 2
    cycle = [even, ~even, first, ~first]
    return [cycle[layer % len(cycle)] for layer in range(layers)]
