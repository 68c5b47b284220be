"""Gaussian pixels with a fixed, a learned and a per-pixel scale, against torch.distributions."""

import math
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from vae_experiments.models.likelihoods import Gaussian

LOG_255 = math.log(255)


def grey(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def squeezed(scale: float, change: Tensor) -> Tensor:
    """The scale after a change of what is learned, worked out anew: log scale = t / sqrt(1 + (t / log 255)^2)."""
    y = math.log(scale)
    t = math.tan(math.asin(y / LOG_255)) * LOG_255 + change.double()
    return torch.exp(torch.sin(torch.atan(t / LOG_255)) * LOG_255)


@pytest.mark.parametrize("scale_is", ["fixed", "learned"])
@pytest.mark.parametrize("scale", [0.005, 0.2, 1.0, 3.0])
def test_one_scale_begins_as_configured(scale_is: Literal["fixed", "learned"], scale: float) -> None:
    x, logits = grey(3, 2, 4, 5), noise(3, 2, 4, 5)
    likelihood = Gaussian(scale, scale_is)
    expected = Normal(torch.sigmoid(logits), scale).log_prob(x).sum((1, 2, 3))
    torch.testing.assert_close(likelihood.log_prob(x, logits), expected, rtol=1e-5, atol=1e-3)


def test_a_learned_scale_is_what_its_parameter_says() -> None:
    x, logits = grey(3, 1, 4, 5), noise(3, 1, 4, 5)
    likelihood = Gaussian(0.2, "learned")
    assert likelihood.change is not None
    likelihood.change.data.fill_(-0.7)
    expected = Normal(torch.sigmoid(logits), squeezed(0.2, torch.tensor(-0.7))).log_prob(x).sum((1, 2, 3))
    torch.testing.assert_close(likelihood.log_prob(x, logits).double(), expected, rtol=1e-5, atol=1e-4)


def test_each_pixel_has_the_scale_beside_its_mean() -> None:
    x, params = grey(3, 2, 4, 5), noise(3, 4, 4, 5)  # mean and scale of one channel, then of the other
    likelihood = Gaussian(0.1, "per_pixel")
    mean, change = params[:, 0::2], params[:, 1::2]
    expected = Normal(torch.sigmoid(mean), squeezed(0.1, change)).log_prob(x).sum((1, 2, 3))
    torch.testing.assert_close(likelihood.log_prob(x, params).double(), expected, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(likelihood.mean(params), torch.sigmoid(mean))


def test_the_learned_scale_becomes_the_root_mean_square_error() -> None:
    x, logits = grey(5, 1, 6, 6), noise(5, 1, 6, 6)
    likelihood = Gaussian(0.5, "learned")
    optimizer = torch.optim.LBFGS(likelihood.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = -likelihood.log_prob(x, logits).sum()
        value.backward()
        return value

    optimizer.step(loss)
    errors = (x - torch.sigmoid(logits)).square().mean().sqrt().item()
    assert likelihood.change is not None
    assert squeezed(0.5, likelihood.change.detach()).item() == pytest.approx(errors, rel=1e-3)


def test_a_scale_finer_than_a_grey_level_is_never_reached_and_always_left_again() -> None:
    black = torch.zeros(1, 1, 1, 1)
    for change in (-1e3, -10.0):
        params = torch.tensor([-30.0, change]).reshape(1, 2, 1, 1).requires_grad_()
        log_prob = Gaussian(scale_is="per_pixel").log_prob(black, params)
        log_prob.backward()
        assert log_prob.item() < LOG_255 - 0.5 * math.log(2 * math.pi) + 1e-4
        assert params.grad is not None
        assert params.grad[0, 1].item() < 0


def test_draws_have_its_mean_and_scale_and_are_clipped() -> None:
    params = torch.tensor([[-1.0, 0.0, 1.0], [-1.0, 0.0, 0.3]]).reshape(1, 2, 1, 3).expand(40_000, -1, -1, -1)
    likelihood = Gaussian(0.05, "per_pixel")
    draws = likelihood.sample(params, torch.Generator().manual_seed(2)).double().flatten(1).numpy()
    scale = squeezed(0.05, params[0, 1]).flatten().numpy()
    mean = torch.sigmoid(params[0, 0]).flatten().numpy()
    np.testing.assert_array_less(np.abs(draws.mean(0) - mean), 5 * scale / math.sqrt(len(draws)))
    np.testing.assert_array_less(np.abs(draws.std(0) / scale - 1), 5 / math.sqrt(2 * len(draws)))
    wide = Gaussian(1.0).sample(torch.zeros(1000, 1, 1, 1), torch.Generator().manual_seed(3))
    outside = 2 * Normal(0.5, 1.0).cdf(torch.tensor(0.0)).item()
    assert ((wide == 0) | (wide == 1)).float().mean().item() == pytest.approx(outside, abs=0.07)
