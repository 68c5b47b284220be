"""Keeping what a network says within bounds, without taking its gradient away."""

import torch
from torch import Tensor


def smooth_bound(x: Tensor, limit: float) -> Tensor:
    """Squeezes x into (-limit, limit): x / sqrt(1 + (x / limit)^2).

    The slope is 1 at zero and positive everywhere, where a clamp's would be zero outside its range
    and leave a log-variance that overshot once without a way back.
    """
    return x / torch.sqrt(1 + (x / limit).square())
