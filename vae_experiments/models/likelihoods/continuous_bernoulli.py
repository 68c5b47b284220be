"""Grey values between black and white."""

import torch
from torch import Tensor

from vae_experiments.models.likelihoods.continuous import ContinuousLikelihood

# |logit| below which series are summed: the closed forms are differences of terms that grow as 1 / |logit|.
# At 1 what the series leave out is below the rounding of float32.
NEAR_ZERO = 1.0


class ContinuousBernoulli(ContinuousLikelihood):
    """Bernoulli's cross-entropy made a density on [0, 1] by its normaliser (Loaiza-Ganem & Cunningham 2019).

    In the logit l it is the density exp(l x) / integral of exp(l t) over [0, 1], so that
    log p(x) = l (x - 1/2) - A(l) with A(l) = log(sinh(l / 2) / (l / 2)), which is even in l and 0 at l = 0, where
    lambda, the paper's parameter, is 1/2. The mean, 1/2 + A'(l), is not sigmoid(l): it reaches black and white as
    slowly as 1 / |l|. Where pixels are exactly black or white, log p is about log |l|, without an upper limit:
    training goes on to larger logits as long as it lasts.
    """

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        return log_density(x, params.float()).flatten(1).sum(1)

    def mean(self, params: Tensor) -> Tensor:
        near, small, large = _near_and_far(params.float())
        s = small.square()
        series = small * (1 / 12 - s * (1 / 720 - s * (1 / 30240 - s / 1209600)))
        return 0.5 + torch.where(near, series, 0.5 / torch.tanh(large / 2) - 1 / large)

    def sample(self, params: Tensor, generator: torch.Generator) -> Tensor:
        logits = params.float()
        uniform = torch.rand(logits.shape, generator=generator, device=generator.device)
        # The inverse of the distribution function for l = -|l|, mirrored for positive l. Clamped for 0 / 0: at
        # |l| = 1e-6 draws are as uniform as at 0.
        size = logits.abs().clamp(min=1e-6)
        towards_black = (-torch.log1p(uniform * torch.expm1(-size)) / size).clamp(max=1)
        return torch.where(logits > 0, 1 - towards_black, towards_black)


def log_density(x: Tensor, logits: Tensor) -> Tensor:
    """log p(x) of each pixel, to the rounding of float32 with its gradient, at any logit.

    Far from 0 it is -|l| d + log |l| - log(1 - exp(-|l|)), d being x's distance from the end that l prefers: at that
    end nothing of the size of l is left to cancel, where l (x - 1/2) and A(l) would be near |l| / 2 both.
    """
    near, small, large = _near_and_far(logits)
    s = small.square()
    series = small * (x - 0.5) - s * (1 / 24 - s * (1 / 2880 - s * (1 / 181440 - s / 9676800)))
    size, away = large.abs(), torch.where(large > 0, 1 - x, x)
    return torch.where(near, series, torch.log(size) - size * away - torch.log1p(-torch.exp(-size)))


def _near_and_far(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Which logits are near 0; then all of them twice, with a harmless number where the other formula is meant.

    What `where` does not choose must be finite too: its gradient is multiplied by zero, not left out.
    """
    near = logits.abs() < NEAR_ZERO
    return near, torch.where(near, logits, 0.0), torch.where(near, 1.0, logits)
