"""A small VAE, and decoders whose pixels say which latent they were made from."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from vae_experiments.models.architectures import MLP, Architecture
from vae_experiments.models.build import build_vae
from vae_experiments.models.likelihoods import Bernoulli, Likelihood
from vae_experiments.models.posteriors import DiagonalGaussian
from vae_experiments.models.priors import StandardNormal
from vae_experiments.models.vae import VAE


class Identity(Likelihood):
    def mean(self, params: Tensor) -> Tensor:
        return params


class Echo(nn.Module):
    """Each pixel of [1, latent_dim, 1] is one value of z."""

    def forward(self, z: Tensor) -> Tensor:
        return z[:, None, :, None]


@pytest.fixture
def make_vae() -> Callable[..., VAE]:
    def make(
        latent_dim: int = 2,
        shape: tuple[int, int, int] = (1, 6, 5),
        architecture: Architecture | None = None,
    ) -> VAE:
        torch.manual_seed(0)
        chosen = architecture or MLP(latent_dim=latent_dim, hidden=[16])
        return build_vae(chosen, DiagonalGaussian, StandardNormal, Bernoulli(), shape)

    return make


@pytest.fixture
def make_echo() -> Callable[[int], VAE]:
    def make(latent_dim: int) -> VAE:
        shape = (1, latent_dim, 1)
        return VAE(
            encoder=nn.Flatten(),
            posterior=DiagonalGaussian(latent_dim, latent_dim),
            prior=StandardNormal(latent_dim, shape),
            decoder=Echo(),
            likelihood=Identity(),
            image_shape=shape,
        )

    return make
