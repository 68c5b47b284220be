"""The continuous Bernoulli against its definition in 50 digits, quadrature and a test of its draws."""

import mpmath
import numpy as np
import pytest
import scipy.stats
import torch
from torch.distributions import ContinuousBernoulli as Reference

from vae_experiments.models.likelihoods import ContinuousBernoulli

# Where the paper's normaliser is 0 / 0, on both sides of where series end, and where exp overflows in float32.
SIZES = [1e-7, 1e-4, 1e-2, 0.3, 0.9999, 1.0, 1.0001, 3.0, 10.0, 50.0, 120.0]
LOGITS = [0.0, *SIZES, *(-size for size in SIZES)]
GREYS = [0.0, 0.2, 0.5, 1.0]


def exact(logit: float, x: float) -> tuple[float, float, float]:
    """log p(x), its derivative by the logit, and the mean, from the paper's formulas in lambda = sigmoid(logit)."""
    with mpmath.workdps(120):  # lambda is within exp(-120) of 1
        p = 1 / (1 + mpmath.exp(-mpmath.mpf(logit)))
        if logit == 0:
            constant, mean = mpmath.mpf(2), mpmath.mpf("0.5")
        else:
            constant = 2 * mpmath.atanh(1 - 2 * p) / (1 - 2 * p)
            mean = p / (2 * p - 1) + 1 / (2 * mpmath.atanh(1 - 2 * p))
        log_prob = x * mpmath.log(p) + (1 - mpmath.mpf(x)) * mpmath.log(1 - p) + mpmath.log(constant)
        # Of an exponential family in its natural parameter.
        return float(log_prob), float(x - mean), float(mean)


def pixels(values: list[float]) -> torch.Tensor:
    return torch.tensor(values)[:, None, None, None]


@pytest.mark.parametrize("x", GREYS)
def test_value_and_gradient_are_right_to_float32_at_any_logit(x: float) -> None:
    logits = pixels(LOGITS).requires_grad_()
    log_prob = ContinuousBernoulli().log_prob(torch.full_like(logits, x), logits)
    log_prob.sum().backward()
    assert logits.grad is not None
    expected = [exact(float(np.float32(logit)), float(np.float32(x))) for logit in LOGITS]
    size = np.maximum(1, np.abs(LOGITS))  # of the terms that log p is the sum of
    np.testing.assert_array_less(np.abs(log_prob.detach().numpy() - [e[0] for e in expected]) / size, 5e-7)
    np.testing.assert_allclose(logits.grad.flatten(), [e[1] for e in expected], atol=5e-7)


@pytest.mark.parametrize("size", [1.0, 30.0, 3e3, 1e5, 1e7])
@pytest.mark.parametrize("x", [0.0, 1 / 255, 0.25, 254 / 255, 1.0])
def test_nothing_cancels_at_large_logits(size: float, x: float) -> None:
    """Against log(l exp(l x) / (exp(l) - 1)) in 60 digits: on the sure pixel's side log |l| is all there is."""
    logits = pixels([-size, size]).requires_grad_()
    grey = torch.full_like(logits, x)
    log_prob = ContinuousBernoulli().log_prob(grey, logits)
    log_prob.sum().backward()
    assert logits.grad is not None
    for i, logit in enumerate((-size, size)):
        with mpmath.workdps(60):
            at, value = mpmath.mpf(logit), mpmath.mpf(float(np.float32(x)))
            expected = at * value - mpmath.log((mpmath.exp(at) - 1) / at)
            slope = value - 1 / (1 - mpmath.exp(-at)) + 1 / at
        assert log_prob[i].item() == pytest.approx(float(expected), rel=3e-7, abs=1e-6)
        assert logits.grad[i].item() == pytest.approx(float(slope), rel=1e-6, abs=1e-7)


def test_the_mean_is_right_to_float32_at_any_logit() -> None:
    mean = ContinuousBernoulli().mean(pixels(LOGITS)).flatten()
    np.testing.assert_allclose(mean, [exact(float(np.float32(logit)), 0.5)[2] for logit in LOGITS], atol=2e-7)
    assert ContinuousBernoulli().mean(pixels([-1e9, 1e9])).flatten().tolist() == pytest.approx([0, 1], abs=1e-8)


def test_no_pixel_is_lost_between_series_and_closed_form() -> None:
    logits = torch.linspace(-2, 2, 4001).reshape(-1, 1, 1, 1)
    slopes = ContinuousBernoulli().mean(logits).double().flatten().diff() * 1000
    assert (slopes > 0.0689).all()  # the variance, 0.06899 at logit 2
    assert (slopes < 0.0835).all()  # and at most 1/12


@pytest.mark.parametrize("logit", [0.0, 1e-4, -0.5, 4.0, -30.0])
def test_the_density_integrates_to_one_and_to_its_mean(logit: float) -> None:
    likelihood = ContinuousBernoulli()
    x = torch.linspace(0, 1, 20_001)
    logits = torch.full((len(x), 1, 1, 1), logit)
    density = likelihood.log_prob(x[:, None, None, None], logits).double().exp()
    assert torch.trapezoid(density, x.double()).item() == pytest.approx(1, abs=1e-5)
    mean = torch.trapezoid(density * x, x.double()).item()
    assert likelihood.mean(logits[:1]).item() == pytest.approx(mean, abs=1e-5)


def test_log_prob_is_that_of_torch_distributions_where_that_is_stable() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, x = 5 + torch.rand(3, 2, 4, 4, generator=generator), torch.rand(3, 2, 4, 4, generator=generator)
    logits = logits * torch.randn(3, 2, 4, 4, generator=generator).sign()
    expected = Reference(logits=logits.double()).log_prob(x.double()).sum((1, 2, 3))
    torch.testing.assert_close(ContinuousBernoulli().log_prob(x, logits).double(), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("logit", [0.0, 1e-5, 1.0, -1.0, 10.0, -10.0, 80.0, -120.0])
def test_draws_follow_the_distribution_function(logit: float) -> None:
    draws = ContinuousBernoulli().sample(torch.full((20_000, 1, 1, 1), logit), torch.Generator().manual_seed(1))

    def cdf(x: np.ndarray) -> np.ndarray:
        # From the end that has the mass, which exp does not overflow at.
        size = abs(logit)
        towards_black = x if size < 1e-3 else np.expm1(-size * (x if logit < 0 else 1 - x)) / np.expm1(-size)
        return towards_black if logit <= 0 or size < 1e-3 else 1 - towards_black

    assert scipy.stats.kstest(draws.flatten().double().numpy(), cdf).pvalue > 1e-3
