"""What an approximate posterior q(z | x) is: a module with the heads, and the distribution it makes of features.

A posterior draws from noise handed to it, never from a generator of its own: the same noise gives
the same latents whatever the batch size, the device or the number of processes.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from vae_experiments.models.shapes import Space


class Distribution(ABC):
    """The distribution q(z | x) of a batch of B images."""

    @property
    @abstractmethod
    def mean(self) -> Tensor:
        """Shape [B, latent_dim]: the code of each image."""

    @abstractmethod
    def rsample(self, noise: Tensor) -> Tensor:
        """Latents [..., B, latent_dim] as a differentiable function of noise [..., B, N], see `Posterior.noise`."""

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z | x) in nats, [..., B], of latents [..., B, latent_dim]."""

    def draw(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Latents, as `rsample`, and their log q(z | x), as `log_prob`; at once where that is cheaper."""
        z = self.rsample(noise)
        return z, self.log_prob(z)

    def kl_to_standard_normal(self) -> Tensor | None:
        """KL(q(z | x) || N(0, I)) in nats, [B], where it has a closed form; else None."""
        return None

    def kl_to_uniform(self) -> Tensor | None:
        """KL of q(z | x) to the uniform distribution on the unit sphere in nats, [B], likewise."""
        return None

    @abstractmethod
    def detach(self) -> "Distribution":
        """The same with its parameters held constant: gradients flow through the latents alone."""

    @abstractmethod
    def __getitem__(self, images: slice) -> "Distribution":
        """The distributions of some of the images."""


class Posterior(nn.Module):
    """From the encoder's features to q(z | x). A subclass gives `forward`."""

    space: ClassVar[Space] = "euclidean"
    # Whether log q(z | x) of a latent that was not drawn from it is found dimension by dimension.
    slow_log_prob: ClassVar[bool] = False
    latent_dim: int

    def forward(self, features: Tensor) -> Distribution:
        """Features [B, F] to the distributions of B images; in float32 whatever the autocast type."""
        raise NotImplementedError

    def noise(self, n: int, generator: torch.Generator) -> Tensor:
        """What `rsample` needs for n images, [n, N], on the generator's device: standard normal, N = latent_dim."""
        return torch.randn(n, self.latent_dim, generator=generator, device=generator.device)
