"""Free bits and capacity: what they pay for each nat of KL."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from vae_experiments.errors import InputError
from vae_experiments.models.architectures import MLP
from vae_experiments.models.build import build_vae
from vae_experiments.models.likelihoods import Bernoulli
from vae_experiments.models.posteriors import DiagonalGaussian
from vae_experiments.models.priors import GaussianMixture, StandardNormal
from vae_experiments.models.vae import VAE
from vae_experiments.objectives import ELBO, Capacity, FreeBits, LinearWarmup, Objective, Progress

BEGIN = Progress(step=0, steps_per_epoch=10, steps=20, images=60)
LATENTS = 5


@pytest.fixture
def vae() -> VAE:
    torch.manual_seed(3)
    vae = build_vae(
        MLP(hidden=[16], latent_dim=LATENTS),
        lambda **later: DiagonalGaussian(**later, limit=None, initial=None),
        StandardNormal, Bernoulli(), (1, 4, 4),
    )  # fmt: skip
    with torch.no_grad():
        vae.posterior.mean.weight[0] *= 10.0  # the first dimension says much, the last one nothing
        for head in (vae.posterior.mean, vae.posterior.log_scale):
            head.weight[-1], head.bias[-1] = 0.0, 0.0
    return vae


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    return torch.rand(6, 1, 4, 4, generator=generator), torch.randn(6, LATENTS, generator=generator)


def kl_table(vae: VAE, x: Tensor) -> Tensor:
    """[B, LATENTS], by torch.distributions."""
    q = vae.encode(x)
    return kl_divergence(Normal(q.mean, torch.exp(q.logvar / 2)), Normal(0.0, 1.0))


def gradient(objective: Objective, vae: VAE, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Of the mean loss, for the layer that makes the posterior means: [LATENTS, 16]."""
    vae.zero_grad()
    objective(vae, *batch, BEGIN).loss.mean().backward()
    grad = vae.posterior.mean.weight.grad
    assert grad is not None
    return grad.clone()


@pytest.mark.parametrize("nats", [0.0, 0.05, 0.25, 1.0, 100.0])
@pytest.mark.parametrize("group", [1, 2, 5])
def test_free_bits_is_the_papers_sum_of_maxima(vae: VAE, batch: tuple[Tensor, Tensor], nats: float, group: int) -> None:
    terms = FreeBits(nats=nats, group=group)(vae, *batch, BEGIN)
    mean_kl = kl_table(vae, batch[0]).mean(0).tolist()
    paid = sum(max(nats, sum(mean_kl[start : start + group])) for start in range(0, LATENTS, group))
    assert terms.loss.mean().item() == pytest.approx(terms.reconstruction.mean().item() + paid, rel=1e-5)
    torch.testing.assert_close(terms.kl, kl_table(vae, batch[0]).sum(1))


def test_free_bits_pulls_only_at_dimensions_that_hold_more(vae: VAE, batch: tuple[Tensor, Tensor]) -> None:
    mean_kl = kl_table(vae, batch[0]).mean(0)
    nats = mean_kl.median().item()
    free, elbo, without_kl = (
        gradient(objective, vae, batch) for objective in (FreeBits(nats=nats), ELBO(kl_weight=1.0), ELBO(kl_weight=0.0))
    )
    above = mean_kl > nats
    assert 0 < above.sum() < LATENTS
    torch.testing.assert_close(free[above], elbo[above])
    torch.testing.assert_close(free[~above], without_kl[~above])
    assert not torch.allclose(elbo, without_kl)


def test_no_free_bits_is_the_evidence_lower_bound(vae: VAE, batch: tuple[Tensor, Tensor]) -> None:
    torch.testing.assert_close(FreeBits(nats=0.0)(vae, *batch, BEGIN).loss, ELBO()(vae, *batch, BEGIN).loss)


def test_free_bits_needs_a_kl_by_dimension() -> None:
    mixed = build_vae(MLP(hidden=[16]), DiagonalGaussian, GaussianMixture, Bernoulli(), (1, 4, 4))
    with pytest.raises(InputError, match=r"^objective=free_bits: .*GaussianMixture.*prior=standard_normal"):
        FreeBits().check(mixed)


@pytest.mark.parametrize("capacity", [0.0, 3.0, 50.0])
def test_capacity_pays_for_each_images_distance(vae: VAE, batch: tuple[Tensor, Tensor], capacity: float) -> None:
    terms = Capacity(gamma=7.0, capacity=capacity)(vae, *batch, BEGIN)
    away = (kl_table(vae, batch[0]).sum(1) - capacity).abs()
    torch.testing.assert_close(terms.loss, terms.reconstruction + 7.0 * away)
    alone = Capacity(gamma=7.0, capacity=capacity)(vae, batch[0][2:3], batch[1][2:3], BEGIN)
    torch.testing.assert_close(alone.loss[0], terms.loss[2])


def test_no_capacity_is_the_beta_vae(vae: VAE, batch: tuple[Tensor, Tensor]) -> None:
    expected = ELBO(kl_weight=7.0)(vae, *batch, BEGIN)
    torch.testing.assert_close(Capacity(gamma=7.0, capacity=0.0)(vae, *batch, BEGIN).loss, expected.loss)


def test_both_of_capacitys_weights_move(vae: VAE, batch: tuple[Tensor, Tensor]) -> None:
    moving = Capacity(gamma=LinearWarmup(length=10, end=5.0), capacity=LinearWarmup(length=20, end=8.0))
    for step, gamma, capacity in ((0, 0.0, 0.0), (5, 2.5, 2.0), (20, 5.0, 8.0), (99, 5.0, 8.0)):
        now = replace(BEGIN, step=step)
        terms = moving(vae, *batch, now)
        torch.testing.assert_close(terms.loss, terms.reconstruction + gamma * (terms.kl - capacity).abs())
        assert moving.scheduled(now) == pytest.approx({"gamma": gamma, "capacity": capacity})


def test_training_reaches_the_capacity(vae: VAE, batch: tuple[Tensor, Tensor]) -> None:
    optimizer = torch.optim.Adam(vae.parameters(), 0.01)
    objective = Capacity(gamma=50.0, capacity=4.0)
    for _ in range(400):
        optimizer.zero_grad()
        objective(vae, *batch, BEGIN).loss.mean().backward()
        optimizer.step()
    torch.testing.assert_close(kl_table(vae, batch[0]).sum(1), torch.full((6,), 4.0), atol=0.3, rtol=0)
