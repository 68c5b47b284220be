"""A small model with small data, to draw from."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from vae_experiments.data.dataset import UNLABELLED, ImageDataset
from vae_experiments.data.prepare import ImageData
from vae_experiments.data.splits import Parts
from vae_experiments.models.architectures import MLP
from vae_experiments.models.build import build_vae
from vae_experiments.models.likelihoods import Bernoulli
from vae_experiments.models.posteriors import DiagonalGaussian
from vae_experiments.models.priors import StandardNormal
from vae_experiments.models.vae import VAE


@pytest.fixture
def make_vae() -> Callable[..., VAE]:
    def make(latent_dim: int = 2, shape: tuple[int, int, int] = (1, 6, 5)) -> VAE:
        torch.manual_seed(0)
        architecture = MLP(latent_dim=latent_dim, hidden=[8])
        return build_vae(architecture, DiagonalGaussian, StandardNormal, Bernoulli(), shape)

    return make


@pytest.fixture
def make_data() -> Callable[..., ImageData]:
    """Random images, two thirds to train on; `names` None means no labels at all."""

    def make(
        shape: tuple[int, int, int] = (1, 6, 5),
        n: int = 60,
        names: list[str] | None = None,
        unlabelled: float = 0.0,
        binarization: str = "none",
    ) -> ImageData:
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (n, *shape), dtype=np.uint8)
        # 11 is taken by the images without a label.
        numbers = [label for label in range(len(names or []) + 1) if label != UNLABELLED]
        class_names = dict(zip(numbers, names or [], strict=False))
        labels = np.resize(list(class_names) or [UNLABELLED], n).astype(np.int64)
        labels[rng.random(n) < unlabelled] = UNLABELLED
        order = rng.permutation(n)
        parts = Parts(order[: 2 * n // 3], order[2 * n // 3 :], order[:0])
        return ImageData(ImageDataset("tiny", images, labels, class_names), parts, binarization)

    return make


@pytest.fixture
def history() -> list[dict[str, float]]:
    keys = ("train/loss", "val/loss", "train/reconstruction", "val/reconstruction", "train/kl", "val/kl")
    return [{"epoch": e, "val/elbo": -150 + e, **dict.fromkeys(keys, 150.0 - e)} for e in (1, 2, 3)]
