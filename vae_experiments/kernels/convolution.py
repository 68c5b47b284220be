"""Convolutions with the ReLU behind them, by kernels compiled for this CPU: bfloat16.c and float32.c.

Images are channels_last, in bfloat16 (bfloat16.c) or float32 (float32.c); weights and biases float32, in any order
of memory.
"""

import ctypes
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from vae_experiments.kernels.calls import Call, library
from vae_experiments.kernels.chain import Kernel

MOST_KERNEL = 11  # layout.h: MOST_KERNEL


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


class Convolution(NamedTuple):
    """A convolution with a square kernel, or its transposed; both directions alike.

    Its weight is [O, C, k, k], of a transposed convolution [C, O, k, k].
    """

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

    def kernel_for(self, images: tuple[int, ...], weight: Tensor, precision: torch.dtype) -> Kernel:
        """What computes it of such images [B, C, H, W], in a number format that has kernels here."""
        return _kernel(self, images, weight.shape, weight.stride(), precision)


class _Convolve:
    """Calls of `convolve` for images and weights of one shape, `written` the weights' dimension of what is written."""

    def __init__(
        self,
        images: tuple[int, ...],
        size: tuple[int, int],
        weight: Tensor,
        written: int,
        convolution: Convolution,
        turned: bool = False,
    ) -> None:
        self.shape = (images[0], weight.shape[written], *size)
        self.taps = ctypes.byref(_taps(weight, 1 - written, written, turned))
        self.sizes = ctypes.byref(_shape(images, self.shape, convolution))
        self.transposed = convolution.transposed

    def arguments(
        self, x: int, mask: int | None, weight: int, bias: int | None, y: int, relu: bool
    ) -> tuple[object, ...]:
        return x, mask, weight, self.taps, bias, y, self.sizes, self.transposed, relu


class _Gradient:
    """Calls of `gradient`, likewise: of the convolution from x to the gradient or, `swapped`, the other way round."""

    def __init__(
        self,
        images: tuple[int, ...],
        outputs: tuple[int, ...],
        weight: Tensor,
        convolution: Convolution,
        swapped: bool,
        turned: bool = False,
    ) -> None:
        like = torch.empty_like(weight)
        self.taps = ctypes.byref(_taps(like, 0, 1, turned) if turned else _taps(like, 1, 0))
        read, written = (outputs, images) if swapped else (images, outputs)
        self.sizes = ctypes.byref(_shape(read, written, convolution))
        self.swapped = swapped

    def arguments(self, gradient: int, mask: int | None, x: int, dw: int, db: int) -> tuple[object, ...]:
        if self.swapped:
            return gradient, mask, x, None, dw, self.taps, db, None, self.sizes
        return x, None, gradient, mask, dw, self.taps, None, db, self.sizes


class _ConvolutionKernel:
    order = torch.channels_last

    def __init__(self, c: Convolution, images: tuple[int, ...], weight: Tensor, precision: torch.dtype) -> None:
        self._library = library(precision)
        size = images[2], images[3]
        self._forward = _Convolve(images, c.output(*size), weight, 1 if c.transposed else 0, c)
        self.shape: tuple[int, ...] = self._forward.shape
        outputs = self.shape
        # Of a transposed convolution, that of its adjoint, from there to x.
        self._gradient = _Gradient(images, outputs, weight, c, swapped=c.transposed)
        # A convolution's gradient is the transposed convolution of its output's, and the other way round.
        adjoint = c._replace(transposed=not c.transposed)
        if c.transposed or c.stride > 1:
            self._of_x = _Convolve(outputs, size, weight, 0 if c.transposed else 1, adjoint)
        else:  # the adjoint is a convolution, too, with the kernel turned around
            turned = c._replace(padding=c.kernel - 1 - c.padding)
            self._of_x = _Convolve(outputs, size, weight, 1, turned, turned=True)
            of_turned = _Gradient(images, outputs, weight, turned, swapped=True, turned=True)
            if self._library.is_better_turned(of_turned.sizes):
                self._gradient = of_turned

    def forward(self, x: int, weight: int, bias: int, relu: bool, y: int) -> Call:
        return self._library.convolve, self._forward.arguments(x, None, weight, bias, y, relu)

    def backward(
        self, gradient: int, mask: int | None, weight: int, x: int, dx: int | None, dw: int | None, db: int | None
    ) -> list[Call]:
        calls: list[Call] = []
        if dx is not None:
            calls.append((self._library.convolve, self._of_x.arguments(gradient, mask, weight, None, dx, False)))
        if dw is not None and db is not None:
            calls.append((self._library.gradient, self._gradient.arguments(gradient, mask, x, dw, db)))
        return calls


@lru_cache(maxsize=1024)
def _kernel(
    c: Convolution, images: tuple[int, ...], weight: torch.Size, strides: tuple[int, ...], precision: torch.dtype
) -> Kernel:
    """For images and weights of these shapes; made once, since it takes as long as a small batch."""
    return _ConvolutionKernel(c, images, torch.empty_strided(weight, strides, device="meta"), precision)


def _taps(weight: Tensor, read: int, written: int, turned: bool = False) -> _Weights:
    """Where the weights lie whose dimensions of input and output channels are these."""
    return _Weights(weight.stride(read), weight.stride(written), weight.stride(2), weight.stride(3), turned)


def _shape(read: tuple[int, ...], written: tuple[int, ...], convolution: Convolution) -> _Shape:
    """Of images [B, C, H, W]."""
    batch, channels, height, width = read
    how = convolution.kernel, convolution.stride, convolution.padding
    return _Shape(batch, height, width, channels, *written[2:], written[1], *how)
