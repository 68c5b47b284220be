"""Grids of images as one uint8 picture, pixel for pixel."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # [H, W, 3]
Images = NDArray[np.float32] | NDArray[np.uint8]  # [..., C, H, W]; floats in [0, 1]

GUTTER = 216  # grey of the lines between tiles: seen on paper and on black images alike


@dataclass(frozen=True)
class Ink:
    """How one-channel images are shown. Colour images are shown as they are.

    Images drawn in light on black, as digits usually are, turn into dark ink on white paper: they read
    better in print and leave no black slabs. `colormap` names a matplotlib colour map to use instead.
    """

    inverted: bool = False
    colormap: str | None = None

    @classmethod
    def for_images(cls, images: NDArray[np.uint8]) -> "Ink":
        """Inverted for one-channel images [N, C, H, W] whose border is mostly black."""
        if images.shape[1] == 3:
            return cls()
        border = np.ones(images.shape[2:], dtype=bool)
        border[1:-1, 1:-1] = False
        return cls(inverted=bool(np.median(images[:, :, border]) < 32))


def to_pixels(images: Images, ink: Ink) -> Pixels:
    """Images [..., C, H, W] as RGB [..., H, W, 3]; other channel counts than 1 and 3 as their mean.

    Raises:
        ValueError: values that are not finite.
    """
    if images.dtype != np.uint8:
        if not np.isfinite(images).all():
            raise ValueError("the images hold values that are not finite")
        images = np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)
    levels = images.astype(np.uint8, copy=False)
    if levels.shape[-3] == 3:
        return np.moveaxis(levels, -3, -1)
    grey = levels[..., 0, :, :] if levels.shape[-3] == 1 else levels.mean(axis=-3).astype(np.uint8)
    if ink.colormap is not None:
        from matplotlib import colormaps  # here, so that a run without such pictures never loads it

        table = np.rint(colormaps[ink.colormap](np.arange(256))[:, :3] * 255).astype(np.uint8)
    else:
        ramp = np.arange(256, dtype=np.uint8)
        table = np.repeat((255 - ramp if ink.inverted else ramp)[:, None], 3, axis=1)
    pixels: Pixels = table[grey]
    return pixels


def tile(tiles: Pixels, gutter: int = 0) -> Pixels:
    """A grid of tiles [R, C, H, W, 3] as one picture; `gutter` pixels of grey around each tile."""
    rows, columns, height, width, _ = tiles.shape
    cell = np.full((rows, columns, height + gutter, width + gutter, 3), GUTTER, np.uint8)
    cell[:, :, gutter:, gutter:] = tiles
    sheet = cell.swapaxes(1, 2).reshape(rows * (height + gutter), columns * (width + gutter), 3)
    return np.pad(sheet, ((0, gutter), (0, gutter), (0, 0)), constant_values=GUTTER)


def enlarge(pixels: Pixels, factor: int) -> Pixels:
    """Each pixel of [..., H, W, 3] as a square of factor x factor."""
    return pixels.repeat(factor, axis=-3).repeat(factor, axis=-2)


def shrink(pixels: Pixels, factor: int) -> Pixels:
    """Means over squares of factor x factor of [..., H, W, 3], smaller ones at the far edges."""
    if factor == 1:
        return pixels
    values = pixels.astype(np.float32)
    for axis in (-3, -2):
        starts = np.arange(0, pixels.shape[axis], factor)
        counts = np.diff([*starts, pixels.shape[axis]]).astype(np.float32)
        shape = [1] * pixels.ndim
        shape[axis] = len(starts)
        values = np.asarray(np.add.reduceat(values, starts, axis=axis) / counts.reshape(shape), np.float32)
    return np.rint(values).astype(np.uint8)


def without_colour(pixels: Pixels) -> NDArray[np.uint8]:
    """A picture [H, W, 3] as [H, W] where it holds no colour: a third of the work for whoever compresses it."""
    red, green, blue = (pixels[..., channel] for channel in range(3))
    return red if np.array_equal(red, green) and np.array_equal(red, blue) else pixels


def manifold_frame(tiles: Images, ink: Ink, max_size: int = 600) -> Pixels:
    """A manifold [rows, n, C, H, W] as a plain picture, for one step of a stepped image.

    Tiles are shrunk by a whole factor until the picture is at most `max_size` wide and high.
    """
    pixels = to_pixels(tiles, ink)
    rows, columns, height, width, _ = pixels.shape
    return tile(shrink(pixels, max(1, -(-rows * height // max_size), -(-columns * width // max_size))))
