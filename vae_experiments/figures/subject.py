"""What a run's pictures are made from: the images picked, their labels and codes. No matplotlib here."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vae_experiments.figures.config import FiguresConfig
from vae_experiments.figures.raster import Ink, Pixels, manifold_frame
from vae_experiments.generation.codes import Codes, encode_dataset
from vae_experiments.generation.manifold import manifold
from vae_experiments.models.vae import VAE

if TYPE_CHECKING:
    from vae_experiments.data.prepare import ImageData

JUDGED = 512  # images encoded to find the most active dimensions while training goes on


@dataclass(frozen=True)
class Subject:
    """A model and its data, as the pictures see them. What is costly is worked out once, when first used."""

    vae: VAE
    data: "ImageData"
    config: FiguresConfig

    @cached_property
    def ink(self) -> Ink:
        """How this dataset's images are shown."""
        return Ink.for_images(self._images(self.data.parts.train[:256]))

    @property
    def manifold_ink(self) -> Ink:
        """How the manifold is: the seed showed it in colours of its own."""
        grey = self.vae.image_shape[0] != 3
        return Ink(colormap="gnuplot2") if self.config.palette == "seed" and grey else self.ink

    @property
    def class_names(self) -> Mapping[int, str]:
        """Label to name, in label order; a label that is not in it means unlabelled."""
        return self.data.dataset.class_names

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """Rows of the images that are encoded: the validation part, thinned out to `config.max_points`."""
        rows = self.data.parts.val
        if len(rows) > self.config.max_points:
            rng = np.random.default_rng(self.config.seed)
            rows = rows[np.sort(rng.choice(len(rows), self.config.max_points, replace=False))]
        return rows

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Labels of `rows`."""
        return self.data.dataset.labels[self.rows]

    @cached_property
    def images(self) -> NDArray[np.uint8]:
        """The images of `rows`."""
        return self._images(self.rows)

    @cached_property
    def codes(self) -> Codes:
        """The codes of `images`."""
        return encode_dataset(self.vae, self.images)

    def training_images(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Images of the training part, by position in it."""
        return self._images(self.data.parts.train[rows])

    def manifold_dims(self) -> tuple[int, int]:
        """The two latent dimensions that the manifold runs over: the most active ones, in their own order."""
        if self.vae.latent_dim <= 2:
            return 0, self.vae.latent_dim - 1
        first, second = sorted(self.codes.most_active()[:2])
        return first, second

    def _images(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        return self.data.images(rows, self.config.seed)


def glimpse(subject: Subject) -> Subject:
    """The same with so few images encoded as may be while training goes on; itself where they are no more."""
    if subject.config.max_points <= JUDGED:
        return subject
    return replace(subject, config=replace(subject.config, max_points=JUDGED))


def epoch_manifold(subject: Subject) -> Pixels:
    """The manifold of a model in training as a plain uint8 picture [H, W, 3], at most 600 wide and high.

    One decode; with more than two latent dimensions also an encoding of a few validation images, to find
    the two most active ones. Never loads matplotlib with the default palette.
    """
    dims = glimpse(subject).manifold_dims()
    tiles = manifold(subject.vae, subject.config.epoch_manifold_size, dims=dims)
    return manifold_frame(tiles, subject.manifold_ink)
