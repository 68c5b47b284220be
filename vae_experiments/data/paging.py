"""Images of a memory map, fetched from the disk many at a time.

A row that is touched before it is in memory stops the process until the disk has answered, and the system then
reads 32 pages for the one that is needed. In random order, from a map much larger than memory, that takes a second
for a batch of 128 images; asked for together beforehand they come while the batch before them is trained on.
"""

import mmap
from typing import Self

import numpy as np
from numpy.typing import NDArray


class Paging:
    """The pages that hold the rows of an array.

    Args:
        array: [N, ...], contiguous, all of it in `mapped`.
        mapped: the memory map.
    """

    def __init__(self, array: NDArray[np.uint8], mapped: mmap.mmap) -> None:
        self._map = mapped
        self._start = array.ctypes.data - np.frombuffer(mapped, np.uint8).ctypes.data
        self._row = array.nbytes // max(1, len(array))

    @classmethod
    def of(cls, array: NDArray[np.uint8]) -> Self | None:
        """Of an array that is memory-mapped; None for one in memory, or on a system that takes no advice."""
        base: object = array
        while isinstance(base, np.ndarray):
            base = base.base
        if isinstance(base, mmap.mmap) and array.flags.c_contiguous and hasattr(mmap, "MADV_WILLNEED"):
            return cls(array, base)
        return None

    def fetch(self, rows: NDArray[np.int64]) -> None:
        """Asks for those rows; returns before they are there."""
        starts = self._start + rows * self._row
        pages = starts // mmap.PAGESIZE * mmap.PAGESIZE
        for page, length in zip(pages.tolist(), (starts + self._row - pages).tolist(), strict=True):
            self._map.madvise(mmap.MADV_WILLNEED, page, length)
