"""The images that a model is measured on, and the random numbers that go with each of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vae_experiments.data.prepare import ImageData
from vae_experiments.generation.codes import Codes, encode_dataset
from vae_experiments.generation.inference import to_unit
from vae_experiments.models.vae import VAE
from vae_experiments.training.randomness import stream

# Images whose random numbers come from one stream: fixed, so that no figure depends on how much is computed at once.
BLOCK = 100


@dataclass(frozen=True)
class Examined:
    """A model, and images of one part of its data.

    Args:
        vae: the model, on any device.
        images: uint8 [N, C, H, W], as the model is trained on them; of a dynamic binarisation one draw.
        labels: int64 [N].
        seed: of all that is drawn.
    """

    vae: VAE
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    seed: int

    @classmethod
    def of(cls, vae: VAE, data: ImageData, rows: NDArray[np.int64], seed: int) -> "Examined":
        """The images of `rows`."""
        return cls(vae, data.images(rows, seed), data.dataset.labels[rows], seed)

    def __len__(self) -> int:
        return len(self.images)

    def thinned(self, n: int) -> "Examined":
        """n of the images, drawn by the seed and in their order; all of them where there are no more."""
        if n >= len(self):
            return self
        rows = np.sort(np.random.default_rng(self.seed).permutation(len(self))[:n])
        return Examined(self.vae, self.images[rows], self.labels[rows], self.seed)

    @cached_property
    def codes(self) -> Codes:
        """q(z | x) of all images."""
        return encode_dataset(self.vae, self.images)

    @property
    def kl_per_dim(self) -> NDArray[np.float64] | None:
        """Mean KL of each latent dimension, nats, [latent_dim]; None where the rate is not their sum."""
        kl = self.codes.kl
        return None if kl is None else kl.mean(0, dtype=np.float64)

    def blocks(self, purpose: str, device: torch.device) -> Iterator[tuple[Tensor, torch.Generator]]:
        """The images as float batches [at most BLOCK, C, H, W] on the device, each with a generator of its own.

        The generators are on the CPU: the same draws on every device. Draw for a whole BLOCK and take what is
        needed, and an image's draws do not depend on how many others there are.
        """
        for number, start in enumerate(range(0, len(self), BLOCK)):
            yield to_unit(self.images[start : start + BLOCK], device), stream(self.seed, f"{purpose} {number}")
