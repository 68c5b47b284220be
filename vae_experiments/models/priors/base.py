"""What a prior p(z) is: what the posterior is pulled towards, and what new images are drawn from."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from vae_experiments.models.posteriors.base import Distribution
from vae_experiments.models.shapes import ImageShape, Space

Encode = Callable[[Tensor], Distribution]  # images [B, C, H, W] in [0, 1] to q(z | x)


class Density(ABC):
    """p(z) over latents [..., latent_dim]."""

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """n latents, [n, latent_dim], on the generator's device."""

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) in nats, [...] for z [..., latent_dim]."""

    def kl(self, q: Distribution) -> Tensor | None:
        """KL(q(z | x) || p(z)) in nats per image, [B], where it has a closed form; else None."""
        return None


class Prior(nn.Module):
    """p(z) as a module with what is learned of it. A subclass gives `forward`.

    Args:
        latent_dim: number of latent dimensions.
        image_shape: (C, H, W) of what the model is for, for a prior that is made of images.
    """

    space: ClassVar[Space] = "euclidean"
    learned: ClassVar[bool] = False  # whether training moves it

    def __init__(self, latent_dim: int, image_shape: ImageShape) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.image_shape = image_shape

    def forward(self, encode: Encode) -> Density:
        """p(z) as it is now, for one pass; `encode` is the model's own, for a prior that is made of it."""
        raise NotImplementedError

    def initialize(self, images: Tensor) -> None:
        """Called once, before training, with some training images [N, C, H, W] in [0, 1]."""

    def centre(self) -> Tensor:
        """The latent, [latent_dim], that the others are seen from: a dimension is run through from there."""
        return torch.zeros(self.latent_dim)

    def between(self, a: Tensor, b: Tensor, share: Tensor) -> Tensor:
        """Latents on the way from a to b, all [..., latent_dim]; share, [..., 1], is how much of the way is gone."""
        return a * (1 - share) + b * share

    def nearest(self, z: Tensor) -> Tensor:
        """The latent nearest to z, both [..., latent_dim], that this prior's space holds."""
        return z
