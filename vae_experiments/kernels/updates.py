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
    """A parameter, and what Adam knows of it: of its shape, and in its order in memory, but for the number of steps."""

    weights: Tensor
    gradient: Tensor
    mean: Tensor  # moments of the gradient
    square: Tensor
    steps: Tensor  # made so far; float32, a scalar on the CPU

    @property
    def is_taken(self) -> bool:
        """Whether the kernel takes it: all of it float32 on the CPU, without gaps in memory."""
        return all(tensor.dtype is torch.float32 and tensor.is_cpu for tensor in self) and is_dense(self.weights)


def is_like(tensor: Tensor, weights: Tensor) -> bool:
    """Whether it is of that shape, and in that order in memory; strides of a single value mean nothing."""
    if tensor.shape != weights.shape:
        return False
    if tensor.stride() == weights.stride():
        return True
    orders = torch.contiguous_format, torch.channels_last
    return any(all(t.is_contiguous(memory_format=order) for t in (tensor, weights)) for order in orders)


def norm(gradients: Sequence[Tensor]) -> Tensor | None:
    """The Euclidean norm of all of them together, a float32 scalar; None where PyTorch is to compute it."""
    taken = all(gradient.dtype is torch.float32 and gradient.is_cpu and is_dense(gradient) for gradient in gradients)
    library = compiled.updates() if taken else None
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
    """Whether there are no gaps between its values in memory."""
    return tensor.is_contiguous() or tensor.is_contiguous(memory_format=torch.channels_last)


def _array(rows: Iterable[tuple[int, ...]]) -> "array[int]":
    """Rows of updates.c's `Weights`: a size and five addresses, of eight bytes each."""
    return array("q", [number for row in rows for number in row])
