"""What passes between PyTorch's tensors and the compiled kernels."""

import ctypes
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from vae_experiments.kernels import compiled

# A kernel's function, which returns a status, and what it is given: addresses and plain numbers; threads come last.
Call = tuple[Callable[..., int], tuple[Any, ...]]


def address(tensor: Tensor | None) -> int | None:
    """Where its first value lies; None, which C takes for NULL, of none."""
    return None if tensor is None else tensor.data_ptr()


def library(precision: torch.dtype) -> ctypes.CDLL:
    """The kernels of a number format that has them."""
    kernels = compiled.kernels(precision)
    assert kernels is not None
    return kernels


def make(calls: Iterable[Call]) -> None:
    """Makes the calls, in their order; whose memory they work on is to be kept until then.

    Raises:
        MemoryError: a kernel found none.
    """
    threads = torch.get_num_threads()
    if any(function(*arguments, threads) for function, arguments in calls):
        raise MemoryError("a layer found no memory for a batch of this size; a smaller one takes less")
