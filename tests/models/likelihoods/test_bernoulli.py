"""Bernoulli pixels against an independent NumPy computation."""

import numpy as np
import torch

from vae_experiments.models.likelihoods import Bernoulli


def test_log_prob_is_the_sum_over_pixels() -> None:
    rng = np.random.default_rng(0)
    logits, x = rng.normal(size=(3, 2, 4, 5)), rng.integers(0, 2, size=(3, 2, 4, 5)).astype(float)
    p = 1 / (1 + np.exp(-logits))
    expected = np.log(np.where(x == 1, p, 1 - p)).sum((1, 2, 3))
    got = Bernoulli().log_prob(torch.tensor(x), torch.tensor(logits).double().float().double())
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-5)


def test_it_survives_extreme_logits() -> None:
    logits = torch.tensor([[[[1e4, -1e4]]]])
    assert Bernoulli().log_prob(torch.tensor([[[[1.0, 0.0]]]]), logits).item() == 0
    assert Bernoulli().log_prob(torch.tensor([[[[0.0, 1.0]]]]), logits).item() == -2e4


def test_samples_have_its_mean() -> None:
    logits = torch.linspace(-3, 3, 7).expand(20_000, 1, 1, 7)
    draws = Bernoulli().sample(logits, torch.Generator().manual_seed(0))
    assert set(draws.unique().tolist()) == {0.0, 1.0}
    assert (draws.mean(0) - Bernoulli().mean(logits[:1])[0]).abs().max() < 0.02
