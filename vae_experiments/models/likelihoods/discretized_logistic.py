"""Grey levels as rounded draws of a logistic distribution, or of several."""

import math
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor
from torch.nn import functional

from vae_experiments.models.bounds import smooth_bound
from vae_experiments.models.likelihoods.levels import WHITE, LevelsLikelihood, choose, levels_of

# The decoder gives locations with black at -1 and white at 1, and log scales in that unit, as Salimans et al.
# (2017) have it; everything below is in levels.
HALF_RANGE = WHITE / 2
# |log scale| stays below this, smoothly; they clamp it at -7 from below. At the narrowest a tenth of a level.
LIMIT = 7.0
# Of the log scale at first: wide enough that every level has a fair chance, about 1 in 1,000 at the far end.
INITIAL = math.log(0.3)


def log_pmf(level: Tensor, location: Tensor, inverse_scale: Tensor) -> Tensor:
    """log P(level): what a logistic has between half a level below and half a level above (Salimans et al. 2017).

    The lowest level has everything below it as well, the highest everything above. With a and b the
    standardised ends of the bin, sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - exp(a - b)): three
    logarithms that are exact in both tails and at any width, where a difference of sigmoids is 0 or noise.

    Args:
        level: whole numbers from 0 to 255.
        location: in levels, anywhere.
        inverse_scale: 1 / scale, in levels: b - a.
    """
    a = (level - 0.5 - location) * inverse_scale
    b = (level + 0.5 - location) * inverse_scale
    black, white = level == 0, level == WHITE
    below = functional.logsigmoid(b).masked_fill(white, 0)
    above = functional.logsigmoid(-a).masked_fill(black, 0)
    width = torch.log(-torch.expm1(-inverse_scale)).masked_fill(black | white, 0)
    return below + above + width


def mean_level(location: Tensor, inverse_scale: Tensor) -> Tensor:
    """The expected level: the sum over levels k of P(level > k), as the integral whose midpoint rule that is.

    Off by a hundredth of a level at a scale of one level and by less above that, by a sixth at the narrowest.
    """
    below = functional.softplus(location * inverse_scale)
    above = functional.softplus((location - WHITE) * inverse_scale)
    return ((below - above) / inverse_scale).clamp(0, WHITE)


def sample_level(location: Tensor, inverse_scale: Tensor, generator: torch.Generator) -> Tensor:
    """A logistic draw, rounded to the nearest level that there is."""
    uniform = torch.rand(location.shape, generator=generator, device=generator.device)
    return torch.round(location + torch.logit(uniform) / inverse_scale).clamp(0, WHITE)


def in_levels(location: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor]:
    """Location and 1 / scale in levels, of the decoder's output."""
    bounded = smooth_bound(INITIAL + log_scale, LIMIT)
    return HALF_RANGE * (1 + location), torch.exp(-bounded) / HALF_RANGE


class DiscretizedLogistic(LevelsLikelihood):
    """A logistic per pixel and channel over 256 levels: two maps, location and log scale (Salimans et al. 2017).

    As theirs, the location is the decoder's output itself, which may lie beyond black and white: a location held
    between them would leave a level at the end with less than all of it. In a bfloat16 output (trainer.precision)
    it is rounded to steps of half a level near black and white, and of a whole one beyond.
    """

    params_per_channel = 2

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        return log_pmf(levels_of(x), *self._logistic(params)).flatten(1).sum(1)

    def mean(self, params: Tensor) -> Tensor:
        return mean_level(*self._logistic(params)) / WHITE

    def sample(self, params: Tensor, generator: torch.Generator) -> Tensor:
        return sample_level(*self._logistic(params), generator) / WHITE

    def _logistic(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """Location and 1 / scale in levels, each [B, C, H, W]."""
        return in_levels(*self.split(params).unbind(2))


class DiscretizedLogisticMixture(LevelsLikelihood):
    """K logistics per pixel and channel, mixed: logits, locations and log scales, K maps of each.

    Channels are independent given z; Salimans et al. (2017) share the choice of a component among them and
    let green see red, and blue both. At first the locations are spread over the levels from black to white.

    Args:
        components: K.
    """

    def __init__(self, components: Annotated[int, Ge(1)] = 5) -> None:
        super().__init__()
        self.components = components
        self.params_per_channel = 3 * components

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        logits, *logistic = self._mixture(params)
        joint = torch.log_softmax(logits, 2) + log_pmf(levels_of(x).unsqueeze(2), *logistic)
        return torch.logsumexp(joint, 2).flatten(1).sum(1)

    def mean(self, params: Tensor) -> Tensor:
        logits, *logistic = self._mixture(params)
        return (torch.softmax(logits, 2) * mean_level(*logistic)).sum(2).clamp(max=WHITE) / WHITE

    def sample(self, params: Tensor, generator: torch.Generator) -> Tensor:
        logits, *logistic = self._mixture(params)
        chosen = choose(logits, generator).unsqueeze(2)
        location, inverse_scale = (each.gather(2, chosen).squeeze(2) for each in logistic)
        return sample_level(location, inverse_scale, generator) / WHITE

    def _mixture(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, and locations and 1 / scales in levels, each [B, C, K, H, W]."""
        logits, location, log_scale = self.split(params).chunk(3, 2)
        centres = (2 * torch.arange(self.components, device=params.device) + 1) / self.components - 1
        return logits, *in_levels(centres[:, None, None] + location, log_scale)
