"""Likelihoods p(x | z): what the decoder's output means.

Images reach a likelihood as floats in [0, 1], [B, C, H, W]; the decoder's output, `params`, is
[B, C * params_per_channel, H, W] and holds logits or whatever else the likelihood is made of.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Likelihood(nn.Module):
    """p(x | params). A subclass gives the three methods and says how many maps it needs per channel."""

    params_per_channel: int = 1

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        """log p(x | params) in nats per image (summed over pixels), [B]."""
        raise NotImplementedError

    def mean(self, params: Tensor) -> Tensor:
        """E[x], the picture to show, in [0, 1], [B, C, H, W]."""
        raise NotImplementedError

    def sample(self, params: Tensor, generator: torch.Generator) -> Tensor:
        """One draw of x, in [0, 1], [B, C, H, W]."""
        raise NotImplementedError


class Bernoulli(Likelihood):
    """Independent Bernoulli pixels, parametrised by logits.

    On grey images (neither 0 nor 1) the cross-entropy is still a usable loss but no longer a
    log-likelihood; runs on such data are tagged so.
    """

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        # x log p + (1 - x) log(1 - p) from logits, without ever forming log(sigmoid(.)).
        losses = functional.binary_cross_entropy_with_logits(params.float(), x, reduction="none")
        return -losses.flatten(1).sum(1)

    def mean(self, params: Tensor) -> Tensor:
        return torch.sigmoid(params.float())

    def sample(self, params: Tensor, generator: torch.Generator) -> Tensor:
        mean = self.mean(params)
        uniform = torch.rand(mean.shape, generator=generator, device=generator.device)
        return (uniform < mean).float()
