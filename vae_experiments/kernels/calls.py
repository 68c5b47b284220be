"""What passes between PyTorch's tensors and the compiled kernels."""

import ctypes

import torch
from torch import Tensor

from vae_experiments.kernels import compiled


def address(tensor: Tensor | None) -> int | None:
    """Where its first value lies; None, which C takes for NULL, of none."""
    return None if tensor is None else tensor.data_ptr()


def library(precision: torch.dtype) -> ctypes.CDLL:
    """The kernels of a number format that has them."""
    kernels = compiled.kernels(precision)
    assert kernels is not None
    return kernels


def check(status: int) -> None:
    """Raises what a kernel's status says.

    Raises:
        MemoryError: it found none.
    """
    if status:
        raise MemoryError("a layer found no memory; a smaller architecture.batch_size takes less")
