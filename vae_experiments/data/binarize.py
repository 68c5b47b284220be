"""Binary images from grey ones; drawing anew at every step is training's, see `batches.binarize`."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vae_experiments.data.dataset import ImageDataset, image_blocks
from vae_experiments.data.store import Block, cache_key, gather


def threshold(dataset: ImageDataset) -> ImageDataset:
    """Pixels cut at one half: 0 up to 127, else 255."""
    return _binarized(dataset, "threshold", None)


def static(dataset: ImageDataset, seed: int) -> ImageDataset:
    """Pixels 0 or 255, drawn once from `seed` with grey level / 255 as the probability of 255.

    As the fixed binarised MNIST of Larochelle and Murray (2011) was made; the draw is ours, so bounds on
    it compare with theirs only up to the spread between draws.
    """
    return _binarized(dataset, "static", seed)


def draw(grey: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.uint8]:
    """Pixels 0 or 255, each 255 with grey level / 255 as its probability."""
    # An integer below 255 drawn uniformly is below x with probability x / 255 exactly.
    return _black_and_white(generator.integers(0, 255, size=grey.shape, dtype=np.uint8) < grey)


def draw_rows(images: NDArray[np.uint8], rows: NDArray[np.int64], seed: int) -> NDArray[np.uint8]:
    """One draw of the images of `rows`: an image's is the same whichever others are asked for with it."""
    drawn = images[rows]
    for i, row in enumerate(rows.tolist()):
        drawn[i] = draw(drawn[i], np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(row,))))
    return drawn


def _black_and_white(white: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return white.astype(np.uint8) * np.uint8(255)


def _binarized(dataset: ImageDataset, how: Literal["threshold", "static"], seed: int | None) -> ImageDataset:
    images = dataset.images
    test = np.zeros(len(images), dtype=np.bool_) if dataset.test is None else dataset.test

    def read() -> Iterator[Block]:
        generator = np.random.default_rng(seed)
        for rows in image_blocks(images):
            grey = images[rows]
            binary = _black_and_white(grey > 127) if seed is None else draw(grey, generator)
            yield Block(binary, dataset.labels[rows], test[rows])

    gathered = gather(images.nbytes, lambda: cache_key("binarized", dataset.digest, how, seed), read)
    return replace(dataset, images=gathered.images, pixel_digest=gathered.pixel_digest)
