"""The diagonal Gaussian against torch.distributions and Monte Carlo; the smooth bound against a clamp."""

import math

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from vae_experiments.models.bounds import smooth_bound
from vae_experiments.models.posteriors import DiagonalGaussian, DiagonalNormal
from vae_experiments.models.priors.standard_normal import UnitNormal


@pytest.fixture
def q() -> DiagonalNormal:
    generator = torch.Generator().manual_seed(1)
    return DiagonalNormal(torch.randn(5, 3, generator=generator), torch.randn(5, 3, generator=generator))


def reference(q: DiagonalNormal) -> Independent:
    return Independent(Normal(q.mean, torch.exp(q.logvar / 2)), 1)


def test_kl_is_that_of_torch_distributions(q: DiagonalNormal) -> None:
    standard = Independent(Normal(torch.zeros(5, 3), torch.ones(5, 3)), 1)
    torch.testing.assert_close(UnitNormal(3).kl(q), kl_divergence(reference(q), standard))


def test_kl_is_what_monte_carlo_gives(q: DiagonalNormal) -> None:
    prior = UnitNormal(3)
    z = q.rsample(torch.randn(200_000, 5, 3, generator=torch.Generator().manual_seed(2)))
    draws = q.log_prob(z) - prior.log_prob(z)
    error = draws.std(0) / math.sqrt(len(draws))
    assert ((draws.mean(0) - prior.kl(q)).abs() < 5 * error).all()


def test_log_prob_is_that_of_torch_distributions(q: DiagonalNormal) -> None:
    z = torch.randn(7, 5, 3, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(q.log_prob(z), reference(q).log_prob(z))


def test_prior_log_prob_integrates_to_one() -> None:
    grid = torch.linspace(-8, 8, 2001, dtype=torch.float64)
    assert torch.trapezoid(UnitNormal(1).log_prob(grid[:, None]).exp(), grid).item() == pytest.approx(1, abs=1e-9)


def test_smooth_bound_never_loses_its_gradient() -> None:
    x = torch.tensor([-1e4, -30.0, -1.0, 0.0, 1.0, 30.0, 1e4], dtype=torch.float64, requires_grad=True)
    y = smooth_bound(x, 20.0)
    y.sum().backward()
    assert x.grad is not None
    assert (y.abs() < 20).all()
    assert (x.grad > 0).all()
    assert x.grad[3] == 1
    assert torch.autograd.gradcheck(lambda v: smooth_bound(v, 20.0), x)


def test_the_second_head_means_what_spread_says() -> None:
    features = torch.randn(4, 6, generator=torch.Generator().manual_seed(4))
    head = DiagonalGaussian(6, 2, spread="logvar", limit=None, initial=None)
    twin = DiagonalGaussian(6, 2, spread="log_sigma", limit=None)
    twin.load_state_dict(head.state_dict())
    torch.testing.assert_close(twin(features).logvar, 2 * head(features).logvar)


def test_every_image_begins_with_the_initial_spread() -> None:
    features = torch.randn(4, 6, generator=torch.Generator().manual_seed(4))
    assert (DiagonalGaussian(6, 2, limit=None, initial=-2.0)(features).logvar == -2).all()
    assert DiagonalGaussian(6, 2, limit=None, initial=None)(features).logvar.std() > 0.1


def test_bounded_log_variance_stays_finite_where_the_unbounded_one_overflows() -> None:
    features = torch.full((1, 4), 1e4)
    for limit, finite in ((20.0, True), (None, False)):
        head = DiagonalGaussian(4, 2, limit=limit)
        torch.nn.init.ones_(head.log_scale.weight)
        assert head(features).logvar.exp().isfinite().all().item() is finite
