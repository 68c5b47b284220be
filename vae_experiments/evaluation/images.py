"""How close one image is to another, pixel by pixel and structure by structure."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv2d

WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2  # (K1 L)^2 and (K2 L)^2 with K1 = 0.01, K2 = 0.03 and pixels in [0, L], L = 1
BLOCK_PIXELS = 2**20  # compared at once: about 100 MB

Images = NDArray[np.floating[Any]]


def squared_errors(x: Images, y: Images) -> NDArray[np.float64]:
    """Mean over pixels and channels of (x - y)^2, [N], of images [N, C, H, W]."""
    errors = [(a - b).square().mean((1, 2, 3)) for a, b in _blocks(x, y)]
    return np.concatenate([np.zeros(0), *errors])


def ssim(x: Images, y: Images) -> NDArray[np.float64]:
    """Structural similarity, [N], at most 1, of images [N, C, H, W] in [0, 1] (Wang et al. 2004).

    Means, variances and covariance are weighted by a Gaussian window of 11 x 11 pixels with a standard
    deviation of 1.5, wherever the window lies within the image; the index is averaged over these places and
    over the channels. The weights add up to 1 and the variances are not corrected for the window's size, as
    in the paper. On images less than 11 pixels high or wide, the largest odd window that fits is used.
    """
    return np.concatenate([np.zeros(0), *(_ssim(a, b) for a, b in _blocks(x, y))])


def _ssim(x: Tensor, y: Tensor) -> Tensor:
    mean_x, mean_y = _windowed(x), _windowed(y)
    var_x, var_y = _windowed(x * x) - mean_x**2, _windowed(y * y) - mean_y**2
    covariance = _windowed(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    structure = (2 * covariance + C2) / (var_x + var_y + C2)
    return (luminance * structure).mean((1, 2, 3))


def _windowed(x: Tensor) -> Tensor:
    """Weighted means of every window that lies within the images."""
    channels, height, width = x.shape[1:]
    size = min(WINDOW, height, width)
    size -= 1 - size % 2
    weights = torch.exp(-0.5 * ((torch.arange(size, dtype=x.dtype) - size // 2) / SIGMA) ** 2)
    column = (weights / weights.sum()).reshape(1, 1, size, 1).expand(channels, 1, size, 1)
    return conv2d(conv2d(x, column, groups=channels), column.mT, groups=channels)


def _blocks(x: Images, y: Images) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs of images in double precision: a variance is a small difference of squares."""
    if x.shape != y.shape:
        raise ValueError(f"images of shapes {x.shape} and {y.shape} cannot be compared")
    block = max(1, BLOCK_PIXELS // max(1, int(np.prod(x.shape[1:]))))
    for start in range(0, len(x), block):
        a, b = (torch.from_numpy(images[start : start + block]).double() for images in (x, y))
        yield a, b
