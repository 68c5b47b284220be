"""Grey values with Gaussian errors."""

import math
from typing import Annotated, Literal

import torch
from annotated_types import Gt, Lt
from torch import Tensor, nn

from vae_experiments.models.bounds import smooth_bound
from vae_experiments.models.likelihoods.continuous import ContinuousLikelihood

# The scale stays above one grey level, smoothly, and below its inverse. Without such a floor the density has no
# upper limit where pixels are the same in every image (Mattei & Frellsen 2018), as the black margin of digits is;
# and finer than a level there is nothing to tell.
FINEST = 1 / 255
LIMIT = -math.log(FINEST)


class Gaussian(ContinuousLikelihood):
    """N(sigmoid(decoder's output), scale^2) for each pixel.

    The sigmoid keeps the mean, which is the picture shown, in [0, 1] without clipping, and resolves grey levels
    even in a bfloat16 output, whose steps near white would otherwise be as coarse as a level.

    Args:
        scale: standard deviation of a pixel around its mean, where white is 1. It weighs the reconstruction
            against the KL term: at a fixed scale much larger than the errors the posterior collapses. Where it is
            not fixed this is what it begins with.
        scale_is: `fixed`; `learned`, one for all pixels and images (Rybkin et al. 2021); or `per_pixel`, a second
            map of the decoder's for each channel.
    """

    def __init__(
        self,
        scale: Annotated[float, Gt(FINEST), Lt(1 / FINEST)] = 0.2,
        scale_is: Literal["fixed", "learned", "per_pixel"] = "fixed",
    ) -> None:
        super().__init__()
        self.scale_is = scale_is
        self.params_per_channel = 2 if scale_is == "per_pixel" else 1
        # The log scale is smooth_bound(initial + what is learned), and what is learned begins at or near zero.
        log_scale = math.log(scale)
        self.initial = log_scale / math.sqrt(1 - (log_scale / LIMIT) ** 2)
        self.change = nn.Parameter(torch.zeros(())) if scale_is == "learned" else None

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        mean, log_scale = self._normal(params)
        errors = (x - mean) * torch.exp(-log_scale)
        return -(0.5 * errors.square() + log_scale + 0.5 * math.log(2 * math.pi)).flatten(1).sum(1)

    def mean(self, params: Tensor) -> Tensor:
        return torch.sigmoid(self.split(params)[:, :, 0])

    def sample(self, params: Tensor, generator: torch.Generator) -> Tensor:
        """One draw, clipped to [0, 1]: the density goes on beyond black and white, pictures do not."""
        mean, log_scale = self._normal(params)
        noise = torch.randn(mean.shape, generator=generator, device=generator.device)
        return (mean + torch.exp(log_scale) * noise).clamp(0, 1)

    def _normal(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """Mean [B, C, H, W], and log scale: of that shape, or a scalar."""
        mean, *change = self.split(params).unbind(2)
        if self.change is not None:
            change = [self.change.float().to(params.device)]
        learned = change[0] if change else torch.zeros((), device=params.device)
        return torch.sigmoid(mean), smooth_bound(self.initial + learned, LIMIT)
