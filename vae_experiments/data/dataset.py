"""What every source of images becomes: one uint8 tensor, labels, and a digest of both."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

UNLABELLED = 11  # the seed's class for digits without a label
BLOCK_BYTES = 1 << 24  # read, hashed or binarised at a time, so that a memory map is never held whole


@dataclass(frozen=True)
class ImageDataset:
    """Images with labels, in the order of their source.

    Args:
        name: as shown to people, e.g. "mnist".
        images: uint8 [N, C, H, W], in memory or memory-mapped (then read-only).
        labels: int64 [N]; `UNLABELLED` where there is none.
        class_names: label to name, in label order; never holds `UNLABELLED`.
        test: bool [N], True for the source's own test part; None where it has none.
        source: where the images came from (a path, an address or a package).
        pixel_digest: SHA-256 of the images' bytes where it is known already.
    """

    name: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    class_names: Mapping[int, str]
    test: NDArray[np.bool_] | None = None
    source: str = ""
    pixel_digest: str | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    @cached_property
    def digest(self) -> str:
        """SHA-256 of shape, pixels, labels and the source's own test part, as 64 hex digits."""
        sha = hashlib.sha256(repr((self.images.shape, self.test is None)).encode())
        sha.update((self.pixel_digest or digest_pixels(self.images)).encode())
        sha.update(np.ascontiguousarray(self.labels).data)
        if self.test is not None:
            sha.update(np.packbits(self.test).data)
        return sha.hexdigest()


def blocks(n: int, entry_bytes: int) -> Iterator[slice]:
    """0 to n in slices of as many entries as `BLOCK_BYTES` holds, at least one."""
    step = max(1, BLOCK_BYTES // max(1, entry_bytes))
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


def image_blocks(images: NDArray[np.generic]) -> Iterator[slice]:
    """The rows of images [N, ...], by blocks."""
    return blocks(len(images), images.nbytes // max(1, len(images)))


def digest_pixels(images: NDArray[np.uint8]) -> str:
    """SHA-256 of the images' bytes, as 64 hex digits."""
    sha = hashlib.sha256()
    for rows in image_blocks(images):
        sha.update(np.ascontiguousarray(images[rows]).data)
    return sha.hexdigest()
