"""Dense layers with the ReLU behind them, by kernels compiled for this CPU: dense.h for PyTorch's tensors."""

import ctypes
from typing import Any

import torch
from torch import Tensor

from vae_experiments.kernels.calls import address, check, library

FORMATS = (torch.bfloat16,)  # that there are kernels in


class _Task(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int) for name in ("batch", "inputs", "outputs", "relu")),
        *((name, ctypes.c_void_p) for name in ("weights", "bias", "x", "g", "mask", "y", "dx", "dw", "db")),
    ]


def dense(x: Tensor, weight: Tensor, bias: Tensor, relu: bool) -> Tensor:
    """What PyTorch's `linear` returns, behind a ReLU if asked for; differentiable once.

    Args:
        x: [B, I], B at least 1, on the CPU, as the rest; in one of FORMATS, which is the result's too.
        weight: [O, I], float32, contiguous.
        bias: [O], float32.
        relu: what is negative becomes zero.
    """
    y: Tensor = _DenseFunction.apply(x, weight, bias.contiguous(), relu)  # type: ignore[no-untyped-call]
    return y


class _DenseFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, relu: bool) -> Tensor:
        x = x.contiguous()
        y = torch.empty((x.shape[0], weight.shape[0]), dtype=x.dtype, device=x.device)
        _compute(x, weight, relu, bias, None, None, y)
        ctx.save_for_backward(x, weight, y if relu else None)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        x, weight, y = ctx.saved_tensors
        dx = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        dw, db = torch.empty_like(weight), torch.empty(len(weight), dtype=torch.float32, device=x.device)
        _compute(x, weight, False, None, gradient.contiguous(), y, None, dx, dw, db)
        return dx, dw, db, None


def _compute(x: Tensor, weight: Tensor, relu: bool, *tensors: Tensor | None) -> None:
    """What dense.h computes of these tensors, in the order of its fields from `bias` on."""
    outputs, inputs = weight.shape
    bias, *others = map(address, tensors)
    task = _Task(len(x), inputs, outputs, relu, address(weight), bias, address(x), *others)
    check(library(x.dtype).dense(ctypes.byref(task), torch.get_num_threads()))
