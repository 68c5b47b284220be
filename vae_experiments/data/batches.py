"""From rows of a uint8 image tensor to float batches on a device."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vae_experiments.data.paging import Paging

# Of the accelerator's free memory, what the images may take; beyond it each batch is sent on its own.
DEVICE_SHARE = 0.25


@dataclass(frozen=True)
class Batch:
    """One batch on the device."""

    rows: NDArray[np.int64]  # [B], which images of the dataset
    x: Tensor  # [B, C, H, W], float32 in [0, 1]
    noise: Tensor  # [B, ...], what the objective draws latents with


class Images:
    """uint8 images [N, C, H, W], kept once, handed out as float32 in [0, 1].

    In memory or memory-mapped on the CPU; on an accelerator they are moved there whole when they fit.

    Args:
        images: all of them.
        device: where they are wanted.
        channels_last: the order in memory of what is handed out; else the dataset's.
    """

    def __init__(self, images: NDArray[np.uint8], device: torch.device, *, channels_last: bool = True) -> None:
        self.device = device
        self.channels_last = channels_last
        self._array = images
        self._resident: Tensor | None = None
        if device.type == "cuda" and images.nbytes < DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]:
            self._resident = torch.tensor(images, device=device)
        self._paging = Paging.of(images) if self._resident is None else None
        self._expected = np.empty(0, np.int64)

    def expect(self, rows: NDArray[np.int64]) -> None:
        """Has the rows that are wanted next fetched from the disk meanwhile; in memory they are there already."""
        if self._paging is not None:
            self._paging.fetch(rows)
            self._expected = rows

    def __call__(self, rows: NDArray[np.int64]) -> Tensor:
        """The images of those rows, [len(rows), C, H, W]."""
        return self.load(self.source(rows).to(self.device, non_blocking=True))

    def source(self, rows: NDArray[np.int64]) -> Tensor:
        """What `load` makes a batch of, still on the CPU: the rows, or their pixels where the device has them not."""
        if self._resident is not None:
            return torch.from_numpy(rows)
        if self._paging is not None and not np.array_equal(rows, self._expected):
            self._paging.fetch(rows)
        return torch.from_numpy(self._array[rows])

    def load(self, source: Tensor) -> Tensor:
        """The same as `__call__`, of that source sent to the device."""
        pixels = source if self._resident is None else self._resident[source]
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return pixels.to(torch.float32, memory_format=layout).div_(255)


def epoch_order(rows: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.int64]:
    """The rows in the random order of that epoch: a function of seed and epoch alone."""
    return np.random.default_rng([seed, epoch]).permutation(rows)


def binarize(x: Tensor, uniform: Tensor) -> Tensor:
    """Pixels drawn as Bernoulli variables, the grey values as probabilities; both of one shape, in [0, 1]."""
    return (uniform < x).to(x.dtype)
