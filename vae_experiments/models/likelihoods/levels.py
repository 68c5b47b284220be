"""Grey levels as what they are: 256 values, each with a probability of its own."""

import torch
from torch import Tensor

from vae_experiments.models.likelihoods.base import Likelihood, Pixels

LEVELS = 256
WHITE = LEVELS - 1


class LevelsLikelihood(Likelihood):
    """A probability for each of the 256 levels of a pixel.

    Of binary pixels, which are levels 0 and 255, it is a log-likelihood as well, if a wasteful one: what the
    other 254 levels get is lost.
    """

    def misfit(self, pixels: Pixels) -> str | None:
        return None


def levels_of(x: Tensor) -> Tensor:
    """The grey levels, whole numbers from 0 to 255, that images in [0, 1] were made from."""
    return torch.round(x.float() * WHITE)


def choose(logits: Tensor, generator: torch.Generator) -> Tensor:
    """An index per pixel, [B, C, H, W], drawn by unnormalised log-probabilities [B, C, N, H, W]."""
    probabilities = torch.softmax(logits, 2).movedim(2, -1)
    drawn = torch.multinomial(probabilities.flatten(0, -2), 1, generator=generator)
    return drawn.reshape(probabilities.shape[:-1])
