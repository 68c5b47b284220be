"""The discrepancy between aggregate posterior and prior: against loops, a closed form, and at its edges."""

import math

import pytest
import torch
from torch import Tensor

from vae_experiments.errors import InputError
from vae_experiments.models.architectures import MLP
from vae_experiments.models.build import build_vae
from vae_experiments.models.likelihoods import Bernoulli
from vae_experiments.models.posteriors import DiagonalGaussian
from vae_experiments.models.priors import GaussianMixture, StandardNormal
from vae_experiments.models.vae import VAE
from vae_experiments.objectives import ELBO, InfoVAE, LinearWarmup, Progress
from vae_experiments.objectives.infovae import Kernel, squared_mmd

NOW = Progress(step=5, steps_per_epoch=10, steps=20, images=60)
KERNELS: list[Kernel] = ["imq", "rbf"]


def small_vae(prior: type = StandardNormal) -> VAE:
    torch.manual_seed(3)
    return build_vae(MLP(hidden=[16], latent_dim=3), DiagonalGaussian, prior, Bernoulli(), (1, 4, 4))


def images(n: int = 6) -> Tensor:
    return torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(5))


def noise_of(objective: InfoVAE, vae: VAE, n: int = 6, seed: int = 1) -> Tensor:
    return objective.noise(vae, n, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kernel", KERNELS)
def test_it_is_the_mean_over_pairs(kernel: Kernel) -> None:
    a, b = torch.randn(2, 7, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)

    def k(u: Tensor, v: Tensor) -> float:
        s = float(((u - v) ** 2).sum()) / 5.0
        return 1 / (1 + s) if kernel == "imq" else math.exp(-s)

    pairs = [(i, j) for i in range(7) for j in range(7)]
    within = sum(k(a[i], a[j]) + k(b[i], b[j]) for i, j in pairs if i != j) / 42
    across = sum(k(a[i], b[j]) for i, j in pairs) / 49
    assert squared_mmd(a, b, 5.0, kernel).item() == pytest.approx(within - 2 * across)


@pytest.mark.parametrize("n", [2, 3, 20])
def test_it_is_right_on_average_whatever_the_batch_size(n: int) -> None:
    # Between N(0, I) and N(m, I): E k(u, v) of differences from N(m, 2 I) is a Gaussian integral.
    generator = torch.Generator().manual_seed(n)
    dims, scale, m = 3, 6.0, torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64)
    expected = 2 * (1 + 4 / scale) ** (-dims / 2) * (1 - math.exp(-float(m @ m) / (scale + 4)))
    a, b = torch.randn(2, 4000, n, dims, generator=generator, dtype=torch.float64)
    found = torch.stack([squared_mmd(u + m, v, scale, "rbf") for u, v in zip(a, b, strict=True)])
    same = torch.stack([squared_mmd(u, v, scale, "rbf") for u, v in zip(a, b, strict=True)])
    assert found.mean().item() == pytest.approx(expected, abs=5 * found.std().item() / math.sqrt(4000))
    assert same.mean().item() == pytest.approx(0, abs=5 * same.std().item() / math.sqrt(4000))
    assert expected > 10 * found.std().item() / math.sqrt(4000)


def test_the_loss_and_its_weights() -> None:
    vae, x = small_vae(), images()
    objective = InfoVAE(kl_weight=LinearWarmup(length=10), mmd_weight=20.0)
    terms = objective(vae, x, noise_of(objective, vae), NOW)
    torch.testing.assert_close(terms.loss, terms.reconstruction + 0.5 * terms.kl + 20.0 * terms.others["mmd"])
    assert len(set(terms.others["mmd"].tolist())) == 1  # one figure, of the batch
    assert (objective.kl_weight_at(NOW), objective.scheduled(NOW)) == (0.5, {"kl_weight": 0.5})
    plain = InfoVAE(kl_weight=1.0, mmd_weight=0.0)
    noise = noise_of(plain, vae)
    torch.testing.assert_close(plain(vae, x, noise, NOW).loss, ELBO()(vae, x, noise[:, :-1], NOW).loss)


def test_the_prior_is_drawn_from_the_noise_alone() -> None:
    vae, x, objective = small_vae(), images(), InfoVAE()
    noise = noise_of(objective, vae)
    torch.manual_seed(0)
    first = objective(vae, x, noise, NOW).others["mmd"]
    torch.manual_seed(99)
    assert torch.equal(first, objective(vae, x, noise, NOW).others["mmd"])
    other = noise.clone()
    other[0, -1] = 0.5
    assert not torch.equal(first, objective(vae, x, other, NOW).others["mmd"])


def test_every_uniform_draw_is_a_seed_of_its_own() -> None:
    # What `noise` hands over times 2^24 is a whole number: none is lost on the way to the seed.
    seeds = noise_of(InfoVAE(), small_vae(), 10_000)[:, -1].double() * 2**24
    assert torch.equal(seeds, seeds.round())
    assert len(seeds.unique()) > 9_980


def test_a_learned_prior_is_taken_as_it_is_now_and_learns_from_the_kl_alone() -> None:
    vae, x, objective = small_vae(GaussianMixture), images(200), InfoVAE(kl_weight=0.1)
    noise = noise_of(objective, vae, 200)
    before = objective(vae, x, noise, NOW).others["mmd"][0].item()
    with torch.no_grad():
        vae.prior.loc += 3.0
    terms = objective(vae, x, noise, NOW)
    assert terms.others["mmd"][0].item() > before + 0.3
    (gradient,) = torch.autograd.grad(terms.loss.sum(), vae.prior.loc, retain_graph=True)
    (of_kl,) = torch.autograd.grad(0.1 * terms.kl.sum(), vae.prior.loc)
    torch.testing.assert_close(gradient, of_kl)
    with pytest.raises(InputError, match=r"^objective=infovae: .*kl_weight=0 .*GaussianMixture"):
        InfoVAE(kl_weight=0.0).check(vae)
    objective.check(vae)
    InfoVAE(kl_weight=0.0).check(small_vae())


@pytest.mark.parametrize("kernel", KERNELS)
def test_latents_that_coincide_and_single_ones_have_a_gradient(kernel: Kernel) -> None:
    prior = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    for n in (4, 1):
        a = torch.full((n, 3), 0.7, requires_grad=True)
        mmd = squared_mmd(a, prior[:n], 6.0, kernel)
        mmd.backward()
        assert mmd.isfinite()
        assert a.grad is not None
        assert a.grad.isfinite().all()
        assert (a.grad.abs().max() > 0) == (n > 1)


@pytest.mark.parametrize("kernel", KERNELS)
def test_following_it_the_latents_take_the_priors_place(kernel: Kernel) -> None:
    generator = torch.Generator().manual_seed(6)
    prior = torch.randn(128, 2, generator=generator)
    z = (0.3 * torch.randn(128, 2, generator=generator) + 2.0).requires_grad_()
    optimizer = torch.optim.SGD([z], 100.0)
    for _ in range(150):
        optimizer.zero_grad()
        squared_mmd(z, prior, 4.0, kernel).backward()
        optimizer.step()
    # Quartiles: the few that were flung out at first come back slowly.
    quartiles = torch.tensor([0.25, 0.5, 0.75])
    torch.testing.assert_close(z.detach().quantile(quartiles, 0), prior.quantile(quartiles, 0), atol=0.3, rtol=0)
