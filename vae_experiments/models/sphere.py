"""Integrals over the unit sphere S^{D-1} in R^D: its area, and the normaliser of the von Mises-Fisher density."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# Above this order Debye's expansion, cut after four terms, is exact to a few parts in 1e9 at every argument.
ORDER = 16

# Its polynomials u_1 to u_4: coefficients of p^k, p^(k+2), ... in u_k (Abramowitz & Stegun 1964, 9.3.9).
DEBYE = (
    (1 / 8, -5 / 24),
    (9 / 128, -77 / 192, 385 / 1152),
    (75 / 1024, -4563 / 5120, 17017 / 9216, -85085 / 82944),
    (3675 / 32768, -96833 / 40960, 144001 / 16384, -7436429 / 663552, 37182145 / 7962624),
)


def log_area(dims: int) -> float:
    """The log of the area of the unit sphere in R^dims."""
    return math.log(2) + dims / 2 * math.log(math.pi) - math.lgamma(dims / 2)


def log_normalizer(kappa: Tensor, dims: int) -> tuple[Tensor, Tensor]:
    """log E[exp(kappa u_1)] over u uniform on the unit sphere in R^dims, and its derivative A(kappa) = E[z_1].

    With v = dims / 2 - 1 they are log(Gamma(v + 1) (2 / kappa)^v I_v(kappa)) and I_{v+1}(kappa) / I_v(kappa),
    I being the modified Bessel function; the latter is the mean length of von Mises-Fisher draws along their mode.

    Args:
        kappa: positive, any shape.
        dims: D, at least 2.

    Returns:
        Both in float64, for their differences cancel most of what float32 holds, and differentiable once.
    """
    exact = kappa.cpu() if kappa.device.type == "mps" else kappa  # the one accelerator without float64
    function: Callable[[Tensor, int], tuple[Tensor, Tensor]] = _LogNormalizer.apply
    return function(exact.double(), dims)


class _LogNormalizer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kappa: Tensor, dims: int) -> tuple[Tensor, Tensor]:
        log_z, mean = _bessel(kappa, dims / 2 - 1)
        ctx.save_for_backward(kappa, mean)
        ctx.dims = dims
        return log_z, mean

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_log_z: Tensor, grad_mean: Tensor) -> tuple[Tensor, None]:
        kappa, mean = ctx.saved_tensors
        slope = 1 - mean.square() - (ctx.dims - 1) * mean / kappa
        return grad_log_z * mean + grad_mean * slope, None


def _bessel(kappa: Tensor, v: float) -> tuple[Tensor, Tensor]:
    """log(Gamma(v + 1) (2 / kappa)^v I_v(kappa)) and I_{v+1} / I_v.

    By Debye's expansion at an order n that is large enough, then down to v: with r = I_{j+1} / I_j,
    I_{j-1} = I_j (2 j / kappa + r), a recurrence of positive terms in which errors die out.
    """
    steps = max(0, math.ceil(ORDER - v))
    n = v + steps
    log_z, ratio = _debye(kappa, n), torch.exp(_debye_log_ratio(kappa, n))
    for j in range(steps):
        order = n - j
        log_z = log_z + torch.log1p(kappa * ratio / (2 * order))
        ratio = 1 / (2 * order / kappa + ratio)
    return log_z, ratio


def _debye(kappa: Tensor, n: float) -> Tensor:
    """log(Gamma(n + 1) (2 / kappa)^n I_n(kappa)); its value at kappa = 0, which is 0, is taken off term by term."""
    root = torch.sqrt(n * n + kappa.square())
    excess = kappa.square() / (root + n)  # root - n
    corrections = torch.log1p(_corrections(n / root, root)) - torch.log1p(_corrections(torch.ones_like(root), n))
    return excess - n * torch.log1p(excess / (2 * n)) - 0.5 * torch.log1p(excess / n) + corrections


def _debye_log_ratio(kappa: Tensor, n: float) -> Tensor:
    """log(I_{n+1}(kappa) / I_n(kappa)), to the last digit where it is near zero: what is large cancels by formula."""
    root, next_root = torch.sqrt(n * n + kappa.square()), torch.sqrt((n + 1) ** 2 + kappa.square())
    large = (2 * n + 1) / (next_root + root)  # next_root - root
    powers = n * torch.asinh(n / kappa) - (n + 1) * torch.asinh((n + 1) / kappa)
    corrections = torch.log1p(_corrections((n + 1) / next_root, next_root)) - torch.log1p(_corrections(n / root, root))
    return large + powers - 0.5 * torch.log1p(large / root) + corrections


def _corrections(p: Tensor, root: Tensor | float) -> Tensor:
    """The sum over k of u_k(p) / n^k, with n = p * root."""
    total = torch.zeros_like(p)
    for k, coefficients in enumerate(DEBYE, start=1):
        polynomial = torch.zeros_like(p)
        for coefficient in reversed(coefficients):
            polynomial = polynomial * p.square() + coefficient
        total = total + polynomial / root**k
    return total
