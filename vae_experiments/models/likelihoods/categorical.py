"""Pixels with a free probability for each grey level."""

import torch
from torch import Tensor

from vae_experiments.models.likelihoods.levels import LEVELS, WHITE, LevelsLikelihood, choose, levels_of


class Categorical(LevelsLikelihood):
    """A softmax over the 256 levels of each pixel and channel (van den Oord et al. 2016).

    It knows nothing of the levels' order. The decoder's output has 256 maps per channel, and a step holds
    it several times in float32: an MNIST image takes 0.8 MB each time.
    """

    params_per_channel = LEVELS

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        # Levels last, where the maps of a channels_last network are side by side in memory: three times as fast.
        log_pmf = torch.log_softmax(self.split(params).movedim(2, -1), -1)
        # Not cross_entropy, which has no deterministic version on CUDA.
        return log_pmf.gather(-1, levels_of(x).long().unsqueeze(-1)).flatten(1).sum(1)

    def mean(self, params: Tensor) -> Tensor:
        logits = self.split(params)
        values = torch.arange(LEVELS, device=logits.device)[:, None, None] / WHITE
        # Not a matrix product, which autocast would make bfloat16.
        return (torch.softmax(logits, 2) * values).sum(2).clamp(max=1)  # probabilities may add up to 1 + 1e-7

    def sample(self, params: Tensor, generator: torch.Generator) -> Tensor:
        return choose(self.split(params), generator) / WHITE
