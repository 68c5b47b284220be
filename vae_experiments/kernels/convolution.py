"""Convolutions with the ReLU behind them, by kernels compiled for this CPU: tiles.c, vectors.c for PyTorch's tensors.

Images are channels_last, in bfloat16 (tiles.c) or float32 (vectors.c); weights and biases float32, in any order of
memory.
"""

import ctypes
from functools import lru_cache
from typing import NamedTuple

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


class Convolution(NamedTuple):
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

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor, relu: bool) -> Tensor:
        """What PyTorch's convolution returns, behind a ReLU if asked for.

        Args:
            x: [B, C, H, W] on the CPU, as the rest; in a number format that has `kernels` here, the result's too.
            weight: [O, C, k, k], of a transposed convolution [C, O, k, k], float32.
            bias: [O], float32.
            relu: what is negative becomes zero.
        """
        x = x.contiguous(memory_format=torch.channels_last)
        return _calls(self, x.shape, weight.shape, weight.stride(), x.dtype).forward(x, None, weight, bias, relu)

    def backward(
        self, gradient: Tensor, mask: Tensor | None, weight: Tensor, x: Tensor, of_x: bool, of_weight: bool
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """The gradients of x, weight and bias that are wanted; see `Kernel`."""
        x, gradient = (each.contiguous(memory_format=torch.channels_last) for each in (x, gradient))
        calls = _calls(self, x.shape, weight.shape, weight.stride(), x.dtype)
        dx = calls.of_x(gradient, mask, weight, None, False) if of_x else None
        dw, db = calls.of_weight(gradient, mask, weight, x) if of_weight else (None, None)
        return dx, dw, db


class _Convolve:
    """A call of `convolve` for images and weights of one shape, `written` the weights' dimension of what is written."""

    def __init__(
        self,
        images: torch.Size,
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

    def __call__(self, x: Tensor, mask: Tensor | None, weight: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
        y = torch.empty(self.shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        images, parameters = (address(x), address(mask)), (address(weight), self.taps, address(bias))
        how = self.sizes, self.transposed, relu, torch.get_num_threads()
        check(library(x.dtype).convolve(*images, *parameters, address(y), *how))
        return y


class _Gradient:
    """A call of `gradient`, likewise: of the convolution from x to the gradient or, `swapped`, the other way round."""

    def __init__(
        self,
        images: torch.Size,
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

    def __call__(self, gradient: Tensor, mask: Tensor | None, weight: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        dw, db = torch.empty_like(weight), torch.empty(gradient.shape[1], dtype=torch.float32, device=x.device)
        read, masked, sums = [address(x), None], [address(gradient), address(mask)], [None, address(db)]
        images = [*masked, *read] if self.swapped else [*read, *masked]
        sums = sums[::-1] if self.swapped else sums
        how = self.sizes, torch.get_num_threads()
        check(library(x.dtype).gradient(*images, address(dw), self.taps, *sums, *how))
        return dw, db


class _Calls(NamedTuple):
    forward: _Convolve
    of_x: _Convolve
    of_weight: _Gradient


@lru_cache(maxsize=1024)
def _calls(
    c: Convolution, images: torch.Size, weight_shape: torch.Size, strides: tuple[int, ...], precision: torch.dtype
) -> _Calls:
    """What is called for images and weights of these shapes; made once, since it takes as long as a small batch."""
    weight = torch.empty_strided(weight_shape, strides, device="meta")
    size = images[2], images[3]
    forward = _Convolve(images, c.output(*size), weight, 1 if c.transposed else 0, c)
    outputs = torch.Size(forward.shape)
    # A convolution's gradient is the transposed convolution of its output's, and the other way round.
    adjoint = c._replace(transposed=not c.transposed)
    turned = c._replace(padding=c.kernel - 1 - c.padding)
    if c.transposed:
        return _Calls(
            forward,
            _Convolve(outputs, size, weight, 0, adjoint),
            _Gradient(images, outputs, weight, c, swapped=True),  # of its adjoint, the convolution to x
        )
    if c.stride == 1:  # the adjoint is a convolution, too, with the kernel turned around
        of_x = _Convolve(outputs, size, weight, 1, turned, turned=True)
        if _is_better_turned(precision, images[1], outputs[1], c.kernel):
            return _Calls(forward, of_x, _Gradient(images, outputs, weight, turned, swapped=True, turned=True))
    else:
        of_x = _Convolve(outputs, size, weight, 1, adjoint)
    return _Calls(forward, of_x, _Gradient(images, outputs, weight, c, swapped=False))


def _is_better_turned(precision: torch.dtype, inputs: int, outputs: int, kernel: int) -> bool:
    """Whether the weights' gradient is found sooner of the convolution to x: with few output channels."""
    if precision == torch.bfloat16:
        return outputs * kernel <= THIN[0] and outputs * kernel**2 <= THIN[1]
    return outputs < min(16, inputs)  # they would leave most of a vector empty


def _taps(weight: Tensor, read: int, written: int, turned: bool = False) -> _Weights:
    """Where the weights lie whose dimensions of input and output channels are these."""
    return _Weights(weight.stride(read), weight.stride(written), weight.stride(2), weight.stride(3), turned)


def _shape(read: tuple[int, ...], written: tuple[int, ...], convolution: Convolution) -> _Shape:
    """Of images [B, C, H, W]."""
    batch, channels, height, width = read
    how = convolution.kernel, convolution.stride, convolution.padding
    return _Shape(batch, height, width, channels, *written[2:], written[1], *how)
