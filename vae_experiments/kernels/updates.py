"""What is done with all weights after a backward pass, compiled for this CPU: updates.c for PyTorch's tensors."""

import ctypes
from array import array
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from vae_experiments.kernels import compiled


class _Settings(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_double) for name in ("lr", "beta1", "beta2", "eps", "decay")),
        ("decoupled", ctypes.c_int),
    ]


class Trained(NamedTuple):
    """A parameter, and what Adam knows of it: of the same shape and format, but for the number of steps."""

    weights: Tensor
    gradient: Tensor
    mean: Tensor  # moments of the gradient
    square: Tensor
    steps: Tensor  # made so far; float32, a scalar on the CPU

    @property
    def is_taken(self) -> bool:
        """Whether the kernel takes it: in float32 on the CPU, all in one order in memory."""
        weights, gradient, mean, square, _ = self
        return is_dense(weights) and weights.stride() == gradient.stride() == mean.stride() == square.stride()


def norm(gradients: Sequence[Tensor]) -> Tensor | None:
    """The Euclidean norm of all of them together, a float32 scalar; None where PyTorch is to compute it."""
    library = compiled.updates() if all(map(is_dense, gradients)) else None
    if library is None:
        return None
    result = torch.empty((), dtype=torch.float32)
    weights = _array((gradient.numel(), 0, gradient.data_ptr(), 0, 0, 0) for gradient in gradients)
    library.norm(weights.buffer_info()[0], len(gradients), result.data_ptr(), torch.get_num_threads())
    return result


def adam(
    parameters: Sequence[Trained], *, lr: float, betas: tuple[float, float], eps: float, decay: float, decoupled: bool
) -> None:
    """One step, as torch.optim.Adam makes it or, `decoupled`, AdamW.

    Args:
        parameters: all of them `is_taken`, where there are kernels.
        lr: the learning rate.
        betas: what the moments keep of themselves.
        eps: added to the root of the second.
        decay: of the weights.
        decoupled: whether it is apart from the gradient.
    """
    library = compiled.updates()
    assert library is not None
    weights = _array((p[0].numel(), *[tensor.data_ptr() for tensor in p]) for p in parameters)
    settings = _Settings(lr, *betas, eps, decay, decoupled)
    library.adam(weights.buffer_info()[0], len(parameters), ctypes.byref(settings), torch.get_num_threads())
    torch.autograd.graph.increment_version(tensor for weights, _, *state in parameters for tensor in (weights, *state))


def is_dense(tensor: Tensor) -> bool:
    """Whether it is float32 on the CPU, without gaps in memory."""
    return (
        tensor.dtype is torch.float32
        and tensor.is_cpu
        and (tensor.is_contiguous() or tensor.is_contiguous(memory_format=torch.channels_last))
    )


def _array(rows: Iterable[tuple[int, ...]]) -> "array[int]":
    """Rows of updates.c's `Weights`: a size and five addresses, of eight bytes each."""
    return array("q", [number for row in rows for number in row])
