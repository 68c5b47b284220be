"""Convolutions with the ReLU behind them, by kernels compiled for this CPU: tiles.c, vectors.c for PyTorch's tensors.

Images are channels_last, in bfloat16 (tiles.c) or float32 (vectors.c); weights and biases float32, in any order of
memory.
"""

import ctypes
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from vae_experiments.kernels.calls import address, check, library

MOST_KERNEL = 11  # layout.h: MOST_KERNEL
THIN = 16, 32  # tiles.c: SEGMENT, DEPTH: values in a row of the kernel and in all of it, up to which it has patches


class _Shape(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_int)
        for name in (
            *("batch", "height", "width", "channels", "out_height", "out_width", "out_channels"),
            *("kernel", "stride", "padding"),
        )
    ]


class _Weights(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in ("read", "written", "row", "column")),
        ("turned", ctypes.c_int),
    ]


@dataclass(frozen=True)
class Geometry:
    """A convolution with a square kernel, or its transposed; both directions alike."""

    kernel: int
    stride: int
    padding: int
    transposed: bool = False
    output_padding: tuple[int, int] = (0, 0)  # of a transposed one

    def output(self, height: int, width: int) -> tuple[int, int]:
        """(H, W) of what an image of that size becomes."""
        if self.transposed:
            grown = self.kernel - 2 * self.padding
            missing = self.output_padding
            return (height - 1) * self.stride + grown + missing[0], (width - 1) * self.stride + grown + missing[1]
        lost = self.kernel - 2 * self.padding
        return (height - lost) // self.stride + 1, (width - lost) // self.stride + 1


def convolve(x: Tensor, weight: Tensor, bias: Tensor, geometry: Geometry, relu: bool) -> Tensor:
    """What PyTorch's convolution of that geometry returns, behind a ReLU if asked for; differentiable once.

    Args:
        x: [B, C, H, W] on the CPU, as the rest; in a number format that has `kernels` here, which is the result's too.
        weight: [O, C, k, k], of a transposed convolution [C, O, k, k], float32.
        bias: [O], float32.
        geometry: where its taps lie.
        relu: what is negative becomes zero.
    """
    y: Tensor = _Convolution.apply(x, weight, bias.contiguous(), geometry, relu)  # type: ignore[no-untyped-call]
    return y


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, geometry: Geometry, relu: bool) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        size = geometry.output(x.shape[2], x.shape[3])
        y = _convolve(x, None, weight, 1 if geometry.transposed else 0, bias, geometry, relu, size=size)
        ctx.save_for_backward(x, weight, y if relu else None)
        ctx.geometry = geometry
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        x, weight, y = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        dx = dw = db = None
        if ctx.needs_input_grad[0]:
            dx = _input_gradient(gradient, y, weight, x, ctx.geometry)
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            dw, db = _weight_gradient(gradient, y, weight, x, ctx.geometry)
        return dx, dw, db, None, None


def _input_gradient(gradient: Tensor, y: Tensor | None, weight: Tensor, x: Tensor, geometry: Geometry) -> Tensor:
    """A convolution's is the transposed convolution of its output's, and the other way round."""
    size = x.shape[2], x.shape[3]
    if geometry.transposed:
        return _convolve(gradient, y, weight, 0, None, replace(geometry, transposed=False), size=size)
    if geometry.stride == 1:  # the same as a convolution with the kernel turned around
        turned = replace(geometry, padding=geometry.kernel - 1 - geometry.padding)
        return _convolve(gradient, y, weight, 1, None, turned, size=size, turned=True)
    return _convolve(gradient, y, weight, 1, None, replace(geometry, transposed=True), size=size)


def _weight_gradient(
    gradient: Tensor, y: Tensor | None, weight: Tensor, x: Tensor, geometry: Geometry
) -> tuple[Tensor, Tensor]:
    """Of weight and bias."""
    kernel, outputs = geometry.kernel, gradient.shape[1]
    dw, db = torch.empty_like(weight), torch.empty(outputs, dtype=torch.float32, device=x.device)
    if geometry.transposed:  # of its adjoint, the convolution from `gradient` to x
        _gradient(gradient, y, x, None, _taps(dw, 1, 0), dw, db, None, _shape(gradient, x, geometry))
    elif geometry.stride == 1 and _is_better_turned(x, outputs, kernel):
        # Few output channels: of the convolution with the kernel turned around, from `gradient` to x.
        shape = _shape(gradient, x, replace(geometry, padding=kernel - 1 - geometry.padding))
        _gradient(gradient, y, x, None, _taps(dw, 0, 1, turned=True), dw, db, None, shape)
    else:
        _gradient(x, None, gradient, y, _taps(dw, 1, 0), dw, None, db, _shape(x, gradient, geometry))
    return dw, db


def _is_better_turned(x: Tensor, outputs: int, kernel: int) -> bool:
    if x.dtype == torch.bfloat16:
        return outputs * kernel <= THIN[0] and outputs * kernel**2 <= THIN[1]
    return outputs < min(16, x.shape[1])  # they would leave most of a vector empty


def _convolve(
    x: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    written: int,
    bias: Tensor | None,
    geometry: Geometry,
    relu: bool = False,
    *,
    size: tuple[int, int],
    turned: bool = False,
) -> Tensor:
    """x, where mask is positive, convolved to images of that (H, W); `written` is the weight's dimension of their C."""
    shape = (x.shape[0], weight.shape[written], *size)
    y = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    images = address(x), address(mask)
    parameters = address(weight), ctypes.byref(_taps(weight, 1 - written, written, turned)), address(bias)
    how = ctypes.byref(_shape(x, y, geometry)), geometry.transposed, relu, torch.get_num_threads()
    check(library(x.dtype).convolve(*images, *parameters, address(y), *how))
    return y


def _gradient(
    x: Tensor,
    x_mask: Tensor | None,
    gradient: Tensor,
    mask: Tensor | None,
    taps: _Weights,
    dw: Tensor,
    x_sums: Tensor | None,
    sums: Tensor | None,
    shape: _Shape,
) -> None:
    """Fills dw, of the convolution from x to what has the gradient, and the sums over the pixels of each channel."""
    images = address(x), address(x_mask), address(gradient), address(mask)
    results = address(dw), ctypes.byref(taps), address(x_sums), address(sums)
    check(library(x.dtype).gradient(*images, *results, ctypes.byref(shape), torch.get_num_threads()))


def _taps(weight: Tensor, read: int, written: int, turned: bool = False) -> _Weights:
    """Where the weights lie whose dimensions of input and output channels are these."""
    return _Weights(weight.stride(read), weight.stride(written), weight.stride(2), weight.stride(3), turned)


def _shape(x: Tensor, y: Tensor, geometry: Geometry) -> _Shape:
    batch, channels, height, width = x.shape
    out = *y.shape[2:], y.shape[1]
    return _Shape(batch, height, width, channels, *out, geometry.kernel, geometry.stride, geometry.padding)
