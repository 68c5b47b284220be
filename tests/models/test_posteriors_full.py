"""The full-covariance Gaussian against torch.distributions and Monte Carlo."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence

from vae_experiments.errors import InputError
from vae_experiments.models.posteriors import DiagonalGaussian, FullGaussian, FullNormal
from vae_experiments.models.priors.standard_normal import UnitNormal


def normals(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def q() -> FullNormal:
    return FullNormal(normals((5, 4), 1), normals((5, 4), 2), torch.tril(normals((5, 4, 4), 3), -1))


def reference(q: FullNormal) -> MultivariateNormal:
    factor = torch.exp(q.logvar / 2)[..., None] * (torch.eye(4) + q.mixing)
    return MultivariateNormal(q.mean, scale_tril=factor)


def test_kl_is_that_of_torch_distributions(q: FullNormal) -> None:
    standard = MultivariateNormal(torch.zeros(5, 4), torch.eye(4))
    torch.testing.assert_close(UnitNormal(4).kl(q), kl_divergence(reference(q), standard))


def test_kl_is_what_monte_carlo_gives(q: FullNormal) -> None:
    z, log_q = q.draw(normals((200_000, 5, 4), 4))
    draws = log_q - UnitNormal(4).log_prob(z)
    error = draws.std(0) / math.sqrt(len(draws))
    assert ((draws.mean(0) - UnitNormal(4).kl(q)).abs() < 5 * error).all()


@pytest.mark.parametrize("shape", [(5, 4), (7, 5, 4), (7, 1, 4), (2, 7, 1, 4)])
def test_log_prob_is_that_of_torch_distributions(q: FullNormal, shape: tuple[int, ...]) -> None:
    z = normals(shape, 5)
    torch.testing.assert_close(q.log_prob(z), reference(q).log_prob(z), rtol=1e-4, atol=1e-4)


def test_draws_have_the_covariance_and_their_own_log_prob(q: FullNormal) -> None:
    z, log_q = q.draw(normals((100_000, 5, 4), 6))
    torch.testing.assert_close(log_q, q.log_prob(z), rtol=1e-3, atol=1e-3)
    for image, covariance in enumerate(reference(q).covariance_matrix):
        scale = covariance.diag().sqrt()
        apart = (torch.cov(z[:, image].T) - covariance) / scale / scale[:, None]
        assert apart.abs().max() < 5 * math.sqrt(2 / 100_000)


def test_it_begins_as_the_diagonal_gaussian() -> None:
    features = normals((3, 6), 7)
    full, diagonal = FullGaussian(6, 4), DiagonalGaussian(6, 4)
    full.mean.load_state_dict(diagonal.mean.state_dict())
    noise = normals((3, 4), 8)
    torch.testing.assert_close(full(features).rsample(noise), diagonal(features).rsample(noise))
    torch.testing.assert_close(full(features).kl_to_standard_normal(), diagonal(features).kl_to_standard_normal())


def test_every_head_learns_from_the_bound() -> None:
    posterior = FullGaussian(6, 3)
    z, log_q = posterior(normals((8, 6), 9)).draw(normals((8, 3), 10))
    ((z - 1).square().sum(-1) + z.prod(-1) + log_q).sum().backward()
    for head in (posterior.mean, posterior.log_scale, posterior.mixing):
        assert head.weight.grad is not None
        assert head.weight.grad.abs().max() > 0


def test_float32_under_bfloat16_autocast(q: FullNormal) -> None:
    noise, z = normals((7, 5, 4), 11), normals((7, 5, 4), 12)
    exact = q.rsample(noise), q.log_prob(z), q.kl_to_standard_normal()
    with torch.autocast("cpu", torch.bfloat16):
        assert FullGaussian(6, 3)(normals((2, 6), 13)).mixing.dtype == torch.float32
        for value, expected in zip((q.rsample(noise), q.log_prob(z), q.kl_to_standard_normal()), exact, strict=True):
            assert torch.equal(value, expected)


def test_a_single_dimension_is_refused() -> None:
    with pytest.raises(InputError, match="posterior=gaussian is the same"):
        FullGaussian(6, 1)
