"""A linear-Gaussian VAE, whose evidence has a closed form, and one whose posteriors are given."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from vae_experiments.models.likelihoods import Likelihood
from vae_experiments.models.posteriors import DiagonalNormal, Posterior
from vae_experiments.models.priors import Prior, StandardNormal
from vae_experiments.models.vae import VAE

PIXELS, LATENTS, SIGMA = 4, 2, 0.6


class Normal(Likelihood):
    """N(params, SIGMA^2) for each pixel."""

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        squares = ((x - params) / SIGMA).square() + math.log(2 * math.pi * SIGMA**2)
        return -0.5 * squares.flatten(1).sum(1)

    def mean(self, params: Tensor) -> Tensor:
        return params


class Given(Posterior):
    """Image i has the posterior N(loc[i], exp(logvar[i])), whatever its pixels."""

    def __init__(self, loc: Tensor, logvar: Tensor) -> None:
        super().__init__()
        self.latent_dim = loc.shape[1]
        self.loc, self.logvar = nn.Parameter(loc), nn.Parameter(logvar)

    def forward(self, features: Tensor) -> DiagonalNormal:
        return DiagonalNormal(self.loc, self.logvar)


@dataclass(frozen=True)
class LinearGaussian:
    """x ~ N(W z + b, SIGMA^2 I), z ~ N(0, I); the columns of W are orthogonal, so that p(z | x) is diagonal."""

    weight: Tensor  # [PIXELS, LATENTS]
    bias: Tensor
    x: Tensor  # [5, 1, 1, PIXELS], drawn from the model

    def vae(self, loc: Tensor, logvar: Tensor, prior: Prior | None = None) -> VAE:
        """The model with these posteriors, each [B, LATENTS], in float64."""
        linear = nn.Linear(LATENTS, PIXELS)
        linear.weight.data, linear.bias.data = self.weight.clone(), self.bias.clone()
        return VAE(
            encoder=nn.Flatten(),
            posterior=Given(loc, logvar),
            prior=prior or StandardNormal(LATENTS, (1, 1, PIXELS)),
            decoder=nn.Sequential(linear, nn.Unflatten(1, (1, 1, PIXELS))),
            likelihood=Normal(),
            image_shape=(1, 1, PIXELS),
        ).double()

    def log_evidence(self, x: Tensor) -> Tensor:
        covariance = self.weight @ self.weight.T + SIGMA**2 * torch.eye(PIXELS, dtype=torch.float64)
        return MultivariateNormal(self.bias, covariance).log_prob(x.flatten(1))

    def true_posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of p(z | x), each [B, LATENTS]."""
        precision = 1 + self.weight.square().sum(0) / SIGMA**2
        loc = (x.flatten(1) - self.bias) @ self.weight / SIGMA**2 / precision
        return loc, -precision.log().expand_as(loc)


@pytest.fixture
def linear_gaussian() -> LinearGaussian:
    generator = torch.Generator().manual_seed(11)
    columns = torch.linalg.qr(torch.randn(PIXELS, LATENTS, generator=generator, dtype=torch.float64))[0]
    weight = columns * torch.tensor([1.5, 0.7], dtype=torch.float64)
    bias = torch.randn(PIXELS, generator=generator, dtype=torch.float64)
    z = torch.randn(5, LATENTS, generator=generator, dtype=torch.float64)
    noise = torch.randn(5, PIXELS, generator=generator, dtype=torch.float64)
    return LinearGaussian(weight, bias, (z @ weight.T + bias + SIGMA * noise).reshape(5, 1, 1, PIXELS))
