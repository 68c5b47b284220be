"""Dense layers with the ReLU behind them, by kernels compiled for this CPU: dense.h for PyTorch's tensors."""

import ctypes
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from vae_experiments.kernels.calls import Call, library
from vae_experiments.kernels.chain import Kernel

FORMATS = (torch.bfloat16,)  # that there are kernels in


class _Task(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int) for name in ("batch", "inputs", "outputs", "relu")),
        *((name, ctypes.c_void_p) for name in ("weights", "bias", "x", "g", "mask", "y", "dx", "dw", "db")),
    ]


class Dense(NamedTuple):
    """A dense layer; its weight is [O, I], contiguous."""

    inputs: int
    outputs: int

    def kernel_for(self, rows: tuple[int, ...], weight: Tensor, precision: torch.dtype) -> Kernel:
        """What computes it of rows [B, I], B at least 1, in one of FORMATS."""
        return _kernel(rows[0], self.inputs, self.outputs, precision)


class _DenseKernel:
    order = torch.contiguous_format

    def __init__(self, batch: int, inputs: int, outputs: int, precision: torch.dtype) -> None:
        self.shape: tuple[int, ...] = (batch, outputs)
        self._sizes = batch, inputs, outputs
        self._dense = library(precision).dense

    def forward(self, x: int, weight: int, bias: int, relu: bool, y: int) -> Call:
        return self._call(relu, weight, bias, x, None, None, y)

    def backward(
        self, gradient: int, mask: int | None, weight: int, x: int, dx: int | None, dw: int | None, db: int | None
    ) -> list[Call]:
        return [self._call(False, weight, None, x, gradient, mask, None, dx, dw, db)]

    def _call(self, relu: bool, *addresses: int | None) -> Call:
        """Of tensors in the order of dense.h's fields."""
        return self._dense, (ctypes.byref(_Task(*self._sizes, relu, *addresses)),)


@lru_cache(maxsize=1024)
def _kernel(batch: int, inputs: int, outputs: int, precision: torch.dtype) -> Kernel:
    """Made once for each size."""
    return _DenseKernel(batch, inputs, outputs, precision)
