"""The contact sheet: what every run makes of the same images and of the same latent points."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vae_experiments.figures.raster import Ink, Pixels, enlarge, to_pixels
from vae_experiments.figures.sheet import LARGEST, draw_sheet
from vae_experiments.figures.style import shown

LARGEST_TILE = 64  # dots


@dataclass(frozen=True)
class Strip:
    """One run's row: uint8 or unit floats.

    Args:
        label: what the run is called.
        reconstructions: [n, C, H, W], of the band's originals.
        decoded: [m, C, H, W], of the latent points.
    """

    label: str
    reconstructions: NDArray[np.float32]
    decoded: NDArray[np.float32]


@dataclass(frozen=True)
class Band:
    """Runs on the same data: the originals [n, C, H, W] above what each run makes of them."""

    label: str
    originals: NDArray[np.uint8]
    strips: Sequence[Strip]


def contact_sheet(bands: Sequence[Band], note: str) -> Figure:
    """A row per run: on the left the same images reconstructed, on the right the same latent points decoded.

    All bands have images of one shape, and the same numbers of them.
    """
    blocks: list[list[Pixels]] = []
    labels: list[str] = []
    for band in bands:
        ink = Ink.for_images(band.originals)
        points = len(band.strips[0].decoded)
        left = np.stack([to_pixels(band.originals, ink), *(to_pixels(s.reconstructions, ink) for s in band.strips)])
        blank = np.full((points, *left.shape[2:]), 255, np.uint8)
        right = np.stack([blank, *(to_pixels(strip.decoded, ink) for strip in band.strips)])
        blocks.append([left, right])
        labels += [shown(band.label, 40), *(shown(strip.label, 40) for strip in band.strips)]
    tall = sum(row[0].shape[0] * row[0].shape[2] for row in blocks)
    wide = sum(block.shape[1] * block.shape[3] for block in blocks[0])
    # As large as the sheet may be: details of small digits are what is compared.
    side = blocks[0][0].shape[2]
    larger = max(1, min(LARGEST // tall, LARGEST // wide, LARGEST_TILE // side))
    blocks = [[enlarge(block, larger) for block in row] for row in blocks]
    return draw_sheet(blocks, "The same images and latent points, run by run", note, row_labels=labels).figure
