"""Dense layers with the ReLU behind them, by kernels compiled for this CPU: dense.h for PyTorch's tensors."""

import ctypes

import torch
from torch import Tensor

from vae_experiments.kernels.calls import address, check, library

FORMATS = (torch.bfloat16,)  # that there are kernels in


class _Task(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int) for name in ("batch", "inputs", "outputs", "relu")),
        *((name, ctypes.c_void_p) for name in ("weights", "bias", "x", "g", "mask", "y", "dx", "dw", "db")),
    ]


class Dense:
    """A dense layer."""

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor, relu: bool) -> Tensor:
        """What PyTorch's `linear` returns, behind a ReLU if asked for.

        Args:
            x: [B, I], B at least 1, on the CPU, as the rest; in one of FORMATS, which is the result's too.
            weight: [O, I], float32, contiguous.
            bias: [O], float32.
            relu: what is negative becomes zero.
        """
        y = torch.empty((x.shape[0], weight.shape[0]), dtype=x.dtype, device=x.device)
        _compute(x.contiguous(), weight, relu, bias, None, None, y)
        return y

    def backward(
        self, gradient: Tensor, mask: Tensor | None, weight: Tensor, x: Tensor, of_x: bool, of_weight: bool
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """The gradients of x, weight and bias that are wanted; see `Kernel`."""
        x = x.contiguous()
        dx = torch.empty_like(x) if of_x else None
        dw = torch.empty_like(weight) if of_weight else None
        db = torch.empty(len(weight), dtype=torch.float32, device=x.device) if of_weight else None
        _compute(x, weight, False, None, gradient.contiguous(), mask, None, dx, dw, db)
        return dx, dw, db


def _compute(x: Tensor, weight: Tensor, relu: bool, *tensors: Tensor | None) -> None:
    """What dense.h computes of these tensors, in the order of its fields from `bias` on."""
    outputs, inputs = weight.shape
    bias, *others = map(address, tensors)
    task = _Task(len(x), inputs, outputs, relu, address(weight), bias, address(x), *others)
    check(library(x.dtype).dense(ctypes.byref(task), torch.get_num_threads()))
