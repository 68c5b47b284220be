"""How arrays of images lie: any usual order of axes to [N, C, H, W]."""

import numpy as np
from numpy.typing import NDArray

from vae_experiments.errors import InputError

CHANNELS = (1, 3)  # grey and RGB


def channel_axis(shape: tuple[int, ...], where: str) -> int | None:
    """Which axis of images [N, ...] holds the channels; None in [N, H, W].

    Where both [N, H, W, C] and [N, C, H, W] would fit, the channels come last.

    Args:
        shape: of the whole array.
        where: names it in the error.
    """
    if 0 in shape[1:]:
        raise InputError(f"{where}: shape {shape}: the images have no pixels")
    if len(shape) == 3:
        return None
    if len(shape) == 4:
        for axis in (3, 1):
            if shape[axis] in CHANNELS:
                return axis
    expected = "[N, H, W], [N, H, W, C] or [N, C, H, W] with 1 or 3 channels"
    raise InputError(f"{where}: shape {shape}: expected {expected}")


def to_nchw(images: NDArray[np.uint8], axis: int | None) -> NDArray[np.uint8]:
    """A view of images, with their channels at `axis`, as [N, C, H, W]."""
    return images[:, None] if axis is None else np.moveaxis(images, axis, 1)
