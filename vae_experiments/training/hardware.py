"""Which device and number format a run uses, and what was left unused; the same answers for `vae doctor`."""

import ctypes
import logging
import os
import platform
import sys
from dataclasses import dataclass

import torch
from torch import nn

from vae_experiments.errors import InputError
from vae_experiments.kernels import compiled
from vae_experiments.models.layers import has_compiled_layers
from vae_experiments.training.config import TrainerConfig

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Hardware:
    """A device and the format of its matrix products, each with the reason it was chosen."""

    device: torch.device
    precision: torch.dtype
    reason: str

    def autocast(self) -> torch.autocast:
        """The context of a forward pass."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision is torch.bfloat16)

    def __str__(self) -> str:
        return f"{self.device} in {str(self.precision).removeprefix('torch.')} ({self.reason})"


def choose(config: TrainerConfig) -> Hardware:
    """What `trainer.device` and `trainer.precision` mean on this machine.

    Raises:
        InputError: when a device was asked for by name and is not here.
    """
    device = torch.device(config.device if config.device != "auto" else _best_device())
    if config.device == "cuda" and not torch.cuda.is_available():
        raise InputError("trainer.device=cuda: no CUDA device is in reach of this PyTorch; use auto or cpu")
    if config.device == "mps" and not torch.backends.mps.is_available():
        raise InputError("trainer.device=mps: no Apple GPU is in reach of this PyTorch; use auto or cpu")
    if device.type == "cuda":
        device = torch.device("cuda", torch.cuda.current_device())
    units = bfloat16_units(device)
    if config.precision == "auto":
        precision = torch.bfloat16 if units else torch.float32
        reason = f"bfloat16 units: {units}" if units else "no bfloat16 units"
    else:
        precision = torch.bfloat16 if config.precision == "bfloat16" else torch.float32
        reason = "as asked"
        if precision is torch.bfloat16 and not units:
            log.warning("trainer.precision=bfloat16: this %s has no units for it, float32 is faster here", device.type)
    return Hardware(device, precision, reason)


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def bfloat16_units(device: torch.device) -> str | None:
    """The name of the hardware that multiplies bfloat16 matrices, or None."""
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        return f"tensor cores, capability {major}.{minor}" if major >= 8 else None
    if device.type == "cpu" and platform.machine() in ("x86_64", "AMD64"):
        return next(iter(compiled.bfloat16_units()), None)
    return None


def takes_kernels(vae: nn.Module, hardware: Hardware) -> bool:
    """Whether the network has layers that kernels of our own compute there; compiled if they were not yet."""
    precision = hardware.precision
    return (
        hardware.device.type == "cpu"
        and has_compiled_layers(vae, precision)
        and compiled.kernels(precision) is not None
    )


def make_repeatable(config: TrainerConfig, hardware: Hardware) -> None:
    """Same config, code, seed and thread count: the same bits, as far as PyTorch can promise it."""
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    if hardware.device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
    torch.set_deterministic_debug_mode("warn")  # use_deterministic_algorithms would import the compiler as well
    # Filling costs time, and nothing here reads memory that was not written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def flush_denormals() -> bool:
    """Takes numbers below 1e-38 for zero, on the CPU; True when it was done.

    An optimizer's moments of weights whose gradient has become exactly zero (behind pixels that are never lit, say)
    shrink step by step until they are that small, and a CPU then takes many times as long over each: some hundred
    steps into a run, that can double the time of a step. Threads do as the one that started them did then: to be
    called before PyTorch's own begin.
    """
    return torch.set_flush_denormal(True)


def keep_freed_memory() -> bool:
    """Stops glibc from returning every large buffer to the kernel, to be faulted in anew by the next step.

    Worth a fifth of the training step on a CPU. Linux with glibc only; True when it was done.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        libc = ctypes.CDLL("libc.so.6")
        trim_threshold, mmap_threshold = -1, -3  # malloc.h: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
        return bool(libc.mallopt(mmap_threshold, 1 << 30) and libc.mallopt(trim_threshold, 1 << 30))
    except (OSError, AttributeError):  # another libc
        return False
