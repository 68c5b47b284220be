"""What a likelihood p(x | z) is: the meaning of the decoder's output.

Images reach a likelihood as floats in [0, 1], [B, C, H, W]: grey levels divided by 255, or zeros and ones.
The decoder's output, `params`, is [B, C * params_per_channel, H, W], a channel's parameters side by side;
it holds logits or whatever else the likelihood is made of.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

Pixels = Literal["binary", "levels"]  # zeros and ones, or any of 256 grey levels


class Likelihood(nn.Module):
    """p(x | params). A subclass gives the methods, and says how many maps it needs per channel."""

    # Whether log_prob is the log of a probability, so that -log_prob / log 2 counts bits; else of a density.
    discrete: ClassVar[bool] = True
    params_per_channel: int = 1

    def __init__(self) -> None:
        super().__init__()  # without arguments, which nn.Module would take any of: a config's typo is refused

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        """log p(x | params) in nats per image (summed over pixels), [B]."""
        raise NotImplementedError

    def mean(self, params: Tensor) -> Tensor:
        """E[x], the picture to show, in [0, 1], [B, C, H, W]."""
        raise NotImplementedError

    def sample(self, params: Tensor, generator: torch.Generator) -> Tensor:
        """One draw of x, in [0, 1], [B, C, H, W]."""
        raise NotImplementedError

    def misfit(self, pixels: Pixels) -> str | None:
        """What is wrong, in one clause, with calling log_prob of such images a log-likelihood; None if nothing is."""
        raise NotImplementedError

    def counts_bits(self, pixels: Pixels) -> bool:
        """Whether log_prob of such images is a log-probability: neither of a density nor a mere loss."""
        return self.discrete and self.misfit(pixels) is None

    def split(self, params: Tensor) -> Tensor:
        """Params as [B, C, params_per_channel, H, W], in float32 whatever the autocast type."""
        batch, maps, height, width = params.shape
        # Without a -1, which no images leave undecided.
        shape = (batch, maps // self.params_per_channel, self.params_per_channel, height, width)
        return params.float().reshape(shape)
