"""A source, ready to be trained on."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vae_experiments.data.binarize import draw_rows, static, threshold
from vae_experiments.data.dataset import ImageDataset
from vae_experiments.data.source import Binarization, Source
from vae_experiments.data.splits import Parts
from vae_experiments.errors import InputError


@dataclass(frozen=True)
class ImageData:
    """What training, evaluation and figures see.

    Args:
        dataset: every image, already binary where `binarization` is "threshold" or "static".
        parts: the rows that train, validate and test.
        binarization: as the source was asked for; "dynamic" is left to be done batch by batch.
    """

    dataset: ImageDataset
    parts: Parts
    binarization: Binarization

    @property
    def pixels(self) -> Literal["binary", "levels"]:
        """What a pixel may be as a model is trained on it: black or white, or any of 256 grey levels."""
        return "levels" if self.binarization == "none" else "binary"

    def images(self, rows: NDArray[np.int64], seed: int) -> NDArray[np.uint8]:
        """Images [len(rows), C, H, W] as a model is trained on them.

        Where training draws them anew at every step, this is one draw: a function of `seed` and the row.
        """
        images = self.dataset.images
        return draw_rows(images, rows, seed) if self.binarization == "dynamic" else images[rows]


def prepare(source: Source, seed: int) -> ImageData:
    """Loads, splits and, where it is done once, binarises.

    Args:
        source: from the config.
        seed: the run's, of a static binarisation; the split has its own.

    Raises:
        InputError: the data is bad, out of reach, or too small for the split.
    """
    dataset = source.load()
    if dataset.images.size == 0:
        raise InputError(f"dataset {dataset.name} ({dataset.source}): no images, or images without pixels")
    parts = source.split.parts(dataset)
    if source.binarization == "threshold":
        dataset = threshold(dataset)
    elif source.binarization == "static":
        dataset = static(dataset, seed)
    return ImageData(dataset, parts, source.binarization)
