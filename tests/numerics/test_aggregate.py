"""Mutual information and KL(q(z) || p(z)) of codes whose aggregate posterior has a closed form."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from vae_experiments.evaluation.aggregate import aggregate, gaussian_kl
from vae_experiments.evaluation.examined import Examined
from vae_experiments.models.architectures import MLP
from vae_experiments.models.likelihoods import Bernoulli
from vae_experiments.models.posteriors import DiagonalGaussian
from vae_experiments.models.priors import StandardNormal
from vae_experiments.models.vae import VAE

LEVELS = 30.0  # standard deviation of a pixel, in grey levels


def encoded(images: np.ndarray, spread: float, noise: float, seed: int = 0) -> Examined:
    """Images [N, 1, 1, D] whose pixel d, 127 +- LEVELS, has the posterior N(+- spread, noise^2) in dimension d."""
    dims = images.shape[-1]
    posterior = DiagonalGaussian(dims, dims, limit=None)
    with torch.no_grad():
        posterior.mean.weight.copy_(torch.eye(dims) * spread * 255 / LEVELS)
        posterior.mean.bias.fill_(-127 * spread / LEVELS)
        posterior.log_scale.weight.zero_()
        posterior.log_scale.bias.fill_(2 * math.log(noise))
    shape = (1, 1, dims)
    vae = VAE(
        encoder=nn.Flatten(),
        posterior=posterior,
        prior=StandardNormal(dims, shape),
        decoder=MLP(latent_dim=dims).decoder(shape, 1),
        likelihood=Bernoulli(),
        image_shape=shape,
    )
    return Examined(vae, images, np.zeros(len(images), np.int64), seed)


def normal_images(n: int, dims: int, seed: int = 0) -> np.ndarray:
    pixels = np.random.default_rng(seed).normal(127, LEVELS, (n, 1, 1, dims))
    return pixels.round().clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(("dims", "spread", "noise"), [(1, 0.9, 0.4), (2, 0.8, 0.6), (2, 1.5, 1.0)])
def test_codes_spread_normally_have_the_closed_form(dims: int, spread: float, noise: float) -> None:
    found = aggregate(encoded(normal_images(3000, dims), spread, noise))
    total = spread**2 + noise**2  # q(z) is N(0, total I)
    information = dims * 0.5 * math.log(total / noise**2)
    marginal = dims * 0.5 * (total - 1 - math.log(total))
    assert found.images == 3000
    assert found.overlaps
    assert found.mutual_information == pytest.approx(information, abs=0.05)
    # One estimate is too large and the other too small, each by little where posteriors overlap.
    assert found.lower_kl - 0.03 < marginal < found.marginal_kl + 0.03
    assert found.marginal_kl - found.lower_kl < 0.1
    assert found.gaussian_kl == pytest.approx(marginal, abs=0.08)


def test_the_rate_is_the_information_and_the_marginal_divergence_together() -> None:
    examined = encoded(normal_images(500, 2), 0.8, 0.6)
    found = aggregate(examined)
    assert examined.kl_per_dim is not None
    # E[log q(z | x) - log p(z)], by one draw for each image.
    assert found.mutual_information + found.marginal_kl == pytest.approx(examined.kl_per_dim.sum(), abs=0.15)


def test_images_of_one_code_share_no_information_with_it() -> None:
    found = aggregate(encoded(np.full((250, 1, 1, 2), 157, np.uint8), 1.0, 0.5))
    assert found.mutual_information == pytest.approx(0, abs=1e-5)
    exact = 2 * 0.5 * (1 + 0.25 - 1 - math.log(0.25))  # KL(N(1, 0.25) || N(0, 1)) in each dimension
    assert found.marginal_kl == pytest.approx(exact, abs=0.3)
    assert found.lower_kl == pytest.approx(found.marginal_kl, abs=1e-5)


def test_images_told_apart_without_fail_have_all_the_information_there_is() -> None:
    pixels = np.stack(np.meshgrid(np.arange(0, 250, 10), np.arange(0, 250, 10)), -1).reshape(-1, 1, 1, 2)
    found = aggregate(encoded(pixels.astype(np.uint8), 1.0, 0.01))
    assert found.mutual_information == pytest.approx(math.log(625), abs=1e-6)
    assert found.ceiling == pytest.approx(math.log(625))
    assert not found.overlaps
    # Each of them with a narrow posterior of its own: says nothing of the images there could be.
    assert found.marginal_kl > 2
    assert found.lower_kl < -50


def test_few_normal_draws_have_the_right_divergence_on_average() -> None:
    rng = np.random.default_rng(0)
    dims, scale, shift = 8, 0.7, 0.3
    exact = 0.5 * dims * (scale**2 + shift**2 - 1 - 2 * math.log(scale))
    mixing = rng.normal(size=(dims, dims))  # of both alike, which changes nothing
    found = [
        gaussian_kl((shift + scale * rng.normal(size=(n, dims))) @ mixing, rng.normal(size=(m, dims)) @ mixing)
        for n, m in [(25, 400), (400, 25)]
        for _ in range(600)
    ]
    for values in (found[:600], found[600:]):
        error = np.std(values) / math.sqrt(600)
        assert abs(np.mean(values) - exact) < 4 * error
        assert error < 0.1


def test_of_too_few_draws_there_is_no_covariance() -> None:
    rng = np.random.default_rng(0)
    assert gaussian_kl(rng.normal(size=(10, 8)), rng.normal(size=(100, 8))) is None
    assert gaussian_kl(rng.normal(size=(100, 8)), rng.normal(size=(10, 8))) is None
    assert gaussian_kl(rng.normal(size=(11, 8)), rng.normal(size=(11, 8))) is not None


def test_a_dimension_that_never_moves_is_far_off_and_not_infinitely() -> None:
    draws = np.random.default_rng(0).normal(size=(500, 3))
    still = draws * [1, 1, 0]
    found = gaussian_kl(still, draws)
    assert found is not None
    assert 5 < found < 8
