"""Black-and-white pixels."""

import torch
from torch import Tensor
from torch.nn import functional

from vae_experiments.models.likelihoods.base import Likelihood, Pixels


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

    def misfit(self, pixels: Pixels) -> str | None:
        if pixels == "binary":
            return None
        return (
            "grey images under a Bernoulli likelihood: a loss, not a log-likelihood; dataset.binarization=dynamic "
            "makes it one"
        )
