"""Probabilities of 256 grey levels: sums over all levels, 40 digits in the tails, and tests of the draws."""

from math import prod

import mpmath
import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Categorical as Reference

from vae_experiments.models.likelihoods import Categorical, DiscretizedLogistic, DiscretizedLogisticMixture, Likelihood
from vae_experiments.models.likelihoods.discretized_logistic import INITIAL, LIMIT, log_pmf, mean_level
from vae_experiments.models.likelihoods.levels import levels_of

GREYS = torch.arange(256) / 255

# One pixel's parameters: at first, towards either end, beyond the ends, and as narrow and as wide as can be.
LOGISTICS = [(0.0, 0.0), (-1.0, -2.0), (0.4, -3.0), (1.5, 0.5), (-4.0, 1.0), (0.3, -1e3), (2.0, -1e3), (0.1, 1e3)]


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def pmf(likelihood: Likelihood, params: Tensor) -> NDArray[np.float64]:
    """P(level), [256], of a pixel with params [P], from the log_prob of an image of each level."""
    every = params.reshape(1, -1, 1, 1).expand(256, -1, -1, -1)
    return likelihood.log_prob(GREYS[:, None, None, None], every).double().exp().numpy()


def mean_by_sum(likelihood: Likelihood, params: Tensor) -> float:
    """E[level], from the pmf."""
    return float(pmf(likelihood, params) @ np.arange(256))


def mean_shown(likelihood: Likelihood, params: Tensor) -> float:
    """E[level], from the picture."""
    return 255 * likelihood.mean(params.reshape(1, -1, 1, 1)).item()


def pvalue_of_draws(likelihood: Likelihood, params: Tensor, n: int = 20_000) -> float:
    """Of a chi-square test of n draws against the pmf, levels gathered until about 10 are expected of a group."""
    images = likelihood.sample(params.reshape(1, -1, 1, 1).expand(n, -1, -1, -1), torch.Generator().manual_seed(5))
    levels = (images * 255).round().long().flatten()
    assert torch.equal(images.flatten(), GREYS[levels])  # nothing but grey levels
    probabilities = pmf(likelihood, params)
    expected = n * probabilities / probabilities.sum()
    group = (np.cumsum(expected) / 10).astype(int)
    counts = [np.bincount(group, weights=each) for each in (np.bincount(levels, minlength=256), expected)]
    observed, expected = (each[counts[1] > 0] for each in counts)
    return float(scipy.stats.chisquare(observed, expected).pvalue)


def scale_of(log_scale: float) -> float:
    """A logistic's scale, in levels, of what the decoder says."""
    t = INITIAL + log_scale
    return float(127.5 * np.exp(t / np.sqrt(1 + (t / LIMIT) ** 2)))


def exact_log_pmf(level: int, location: float, scale: float) -> float:
    """log(sigmoid(b) - sigmoid(a)) in as many digits as that difference needs."""
    with mpmath.workdps(40):
        a = (mpmath.mpf(level) - 0.5 - location) / scale if level > 0 else -mpmath.inf
        b = (mpmath.mpf(level) + 0.5 - location) / scale if level < 255 else mpmath.inf
        if a > 0:
            a, b = -b, -a  # in the tail below, where both terms are small and their ratio is not 1
        return float(mpmath.log(1 / (1 + mpmath.exp(-b)) - 1 / (1 + mpmath.exp(-a))))


def test_every_level_is_recovered_from_the_float_it_became() -> None:
    multiplied = torch.arange(256) * torch.tensor(1 / 255)  # not the same floats as those of a division
    below, above = (torch.nextafter(GREYS, torch.tensor(end)) for end in (0.0, 1.0))
    for x in (GREYS, GREYS.double(), multiplied, below, above):
        assert levels_of(x).tolist() == list(range(256))


@pytest.mark.parametrize("logistic", LOGISTICS)
def test_a_logistics_probabilities_sum_to_one(logistic: tuple[float, float]) -> None:
    assert pmf(DiscretizedLogistic(), torch.tensor(logistic)).sum() == pytest.approx(1, abs=2e-5)


@pytest.mark.parametrize("likelihood", [DiscretizedLogisticMixture(3), Categorical()], ids=["mixture", "categorical"])
def test_probabilities_sum_to_one(likelihood: Likelihood) -> None:
    for size in (0.1, 1.0, 10.0):
        assert pmf(likelihood, size * noise(likelihood.params_per_channel)).sum() == pytest.approx(1, abs=2e-5)


@pytest.mark.parametrize("scale", [0.12, 1.0, 40.0, 2000.0])
def test_a_logistics_probabilities_are_exact_into_the_tails(scale: float) -> None:
    levels = torch.tensor([0.0, 1.0, 77.0, 128.0, 254.0, 255.0])
    for location in (-300.0, 0.25, 128.25, 254.0, 700.0):
        got = log_pmf(levels, torch.tensor(location), torch.tensor(1 / scale))
        expected = [exact_log_pmf(int(level), location, float(1 / np.float32(1 / scale))) for level in levels]
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
        assert got.min() > -1e4  # the narrowest, 1,000 levels off: far below what a difference of float64s can hold


def test_the_decoders_unit_is_half_the_range_of_grey() -> None:
    for location, log_scale in LOGISTICS[:4]:
        got = DiscretizedLogistic().log_prob(
            torch.full((1, 1, 1, 1), 200 / 255), torch.tensor([location, log_scale]).reshape(1, 2, 1, 1)
        )
        expected = exact_log_pmf(200, 127.5 * (1 + location), scale_of(log_scale))
        assert got.item() == pytest.approx(expected, rel=1e-4)


def test_a_pixel_far_in_the_tail_still_pulls() -> None:
    params = torch.tensor([1.0, -1e3]).reshape(1, 2, 1, 1).requires_grad_()  # white, and sure of it
    (-DiscretizedLogistic().log_prob(torch.zeros(1, 1, 1, 1), params)).sum().backward()
    assert params.grad is not None
    assert params.grad[0, 0].item() == pytest.approx(127.5 / scale_of(-1e3), rel=1e-3)  # of log sigmoid's straight part
    assert params.grad[0, 1].item() < 0


def test_the_expected_level_is_that_of_the_sum() -> None:
    location = torch.linspace(-40, 300, 341)
    for scale, tolerance in ((scale_of(-1e4), 0.2), (1.0, 0.011), (5.0, 0.003), (100.0, 1e-3)):
        inverse = torch.tensor(1 / scale)
        ends = torch.arange(255)[:, None] + 0.5
        exact = torch.sigmoid((location.double() - ends) / scale).sum(0)
        assert (mean_level(location, inverse) - exact).abs().max() < tolerance


@pytest.mark.parametrize("logistic", LOGISTICS[:5])
def test_a_logistics_picture_is_its_mean(logistic: tuple[float, float]) -> None:
    params = torch.tensor(logistic)
    expected = mean_by_sum(DiscretizedLogistic(), params)
    assert mean_shown(DiscretizedLogistic(), params) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("likelihood", [DiscretizedLogisticMixture(3), Categorical()], ids=["mixture", "categorical"])
def test_the_picture_is_the_mean(likelihood: Likelihood) -> None:
    params = 2 * noise(likelihood.params_per_channel)
    assert mean_shown(likelihood, params) == pytest.approx(mean_by_sum(likelihood, params), abs=0.02)


@pytest.mark.parametrize("logistic", LOGISTICS[:5])
def test_a_logistics_draws_follow_its_probabilities(logistic: tuple[float, float]) -> None:
    assert pvalue_of_draws(DiscretizedLogistic(), torch.tensor(logistic)) > 1e-3


@pytest.mark.parametrize("likelihood", [DiscretizedLogisticMixture(3), Categorical()], ids=["mixture", "categorical"])
def test_draws_follow_the_probabilities(likelihood: Likelihood) -> None:
    assert pvalue_of_draws(likelihood, noise(likelihood.params_per_channel)) > 1e-3


def test_a_mixture_is_the_weighted_sum_of_its_logistics() -> None:
    params = noise(9)
    logits, locations, log_scales = params.reshape(3, 3).double().numpy()
    centres = np.array([-2 / 3, 0, 2 / 3])  # the middles of three equal parts of black to white
    for level in (0, 3, 130, 255):
        each = [
            exact_log_pmf(level, 127.5 * (1 + centre + location), scale_of(log_scale))
            for centre, location, log_scale in zip(centres, locations, log_scales, strict=True)
        ]
        expected = scipy.special.logsumexp(scipy.special.log_softmax(logits) + each)
        assert np.log(pmf(DiscretizedLogisticMixture(3), params)[level]) == pytest.approx(expected, rel=1e-4)


def test_a_mixture_of_one_is_the_logistic() -> None:
    params = noise(4, 6, 3, 3)  # two channels of logit, location and log scale
    alone = params.reshape(4, 2, 3, 3, 3)[:, :, 1:].reshape(4, 4, 3, 3)
    x = GREYS[torch.randint(256, (4, 2, 3, 3), generator=torch.Generator().manual_seed(1))]
    one, logistic = DiscretizedLogisticMixture(1), DiscretizedLogistic()
    torch.testing.assert_close(one.log_prob(x, params), logistic.log_prob(x, alone))
    torch.testing.assert_close(one.mean(params), logistic.mean(alone))


def test_the_categorical_is_that_of_torch_distributions() -> None:
    shape = (3, 2, 4, 5)
    params = 3 * noise(3, 2 * 256, 4, 5)
    levels = torch.randint(256, shape, generator=torch.Generator().manual_seed(1))
    expected = Reference(logits=params.reshape(3, 2, 256, 4, 5).movedim(2, -1)).log_prob(levels).sum((1, 2, 3))
    assert prod(expected.shape) == 3
    for layout in (torch.contiguous_format, torch.channels_last):
        torch.testing.assert_close(Categorical().log_prob(GREYS[levels], params.to(memory_format=layout)), expected)
