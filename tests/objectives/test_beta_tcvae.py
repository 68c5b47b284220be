"""The decomposition of the KL, against loops over all pairs."""

import math
from itertools import combinations

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from vae_experiments.errors import InputError
from vae_experiments.models.architectures import MLP
from vae_experiments.models.build import build_vae
from vae_experiments.models.likelihoods import Bernoulli
from vae_experiments.models.posteriors import DiagonalGaussian, DiagonalNormal
from vae_experiments.models.priors import RealNVP, StandardNormal
from vae_experiments.models.vae import VAE
from vae_experiments.objectives import BetaTCVAE, LinearWarmup, Progress
from vae_experiments.objectives.beta_tcvae import Sampling, log_aggregate

NOW = Progress(step=5, steps_per_epoch=10, steps=20, images=60)
SAMPLINGS: list[Sampling] = ["weighted", "stratified"]


@pytest.fixture
def vae() -> VAE:
    torch.manual_seed(3)
    return build_vae(
        MLP(hidden=[16], latent_dim=3),
        lambda **later: DiagonalGaussian(**later, initial=None),
        StandardNormal, Bernoulli(), (1, 4, 4),
    ).double()  # fmt: skip


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    return torch.rand(6, 1, 4, 4, generator=generator).double(), torch.randn(6, 3, generator=generator).double()


def posteriors(n: int, dims: int = 3) -> DiagonalNormal:
    generator = torch.Generator().manual_seed(8)
    loc, logvar = torch.randn(2, n, dims, generator=generator, dtype=torch.float64)
    return DiagonalNormal(loc, logvar)


def density(q: DiagonalNormal, j: int, z: Tensor, d: int | None = None) -> float:
    """q(z | x_j), or that of one dimension, by torch.distributions."""
    log_q = Normal(q.loc[j], torch.exp(q.logvar[j] / 2)).log_prob(z)
    return math.exp(log_q.sum() if d is None else log_q[d])


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_three_parts_are_the_kl_of_the_draw(vae: VAE, batch: tuple[Tensor, Tensor], sampling: Sampling) -> None:
    terms = BetaTCVAE(alpha=1.0, beta=1.0, gamma=1.0, sampling=sampling)(vae, *batch, NOW)
    q, z = vae.encode(batch[0]), vae(*batch).z
    scale = torch.exp(q.logvar / 2)
    kl = (Normal(q.mean, scale).log_prob(z) - Normal(0.0, 1.0).log_prob(z)).sum(1)
    torch.testing.assert_close(sum(terms.others.values()), kl, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(terms.loss, terms.reconstruction + kl)
    exact = kl_divergence(Independent(Normal(q.mean, scale), 1), Independent(Normal(torch.zeros_like(z), 1.0), 1))
    torch.testing.assert_close(terms.kl.double(), exact, rtol=1e-6, atol=1e-6)
    assert tuple(terms.others) == BetaTCVAE.others


def test_weighted_sampling_is_the_papers_sum_over_pairs() -> None:
    q, n = posteriors(5), 60
    z = q.rsample(torch.randn(5, 3, generator=torch.Generator().manual_seed(2)).double())
    log_q, log_product = log_aggregate(q, z, n, "weighted")
    for i in range(5):
        joint = sum(density(q, j, z[i]) for j in range(5)) / (5 * n)
        apart = [sum(density(q, j, z[i], d) for j in range(5)) / (5 * n) for d in range(3)]
        assert log_q[i].item() == pytest.approx(math.log(joint))
        assert log_product[i].item() == pytest.approx(math.log(math.prod(apart)))


def test_stratified_sampling_is_the_aggregate_on_average() -> None:
    q = posteriors(6, dims=1)  # the whole data set; in one dimension both densities are the same
    z = q.rsample(torch.randn(6, 1, generator=torch.Generator().manual_seed(2)).double())
    for i in range(6):
        aggregate = sum(density(q, j, z[i]) for j in range(6)) / 6
        found = []
        for others in combinations([j for j in range(6) if j != i], 2):  # every batch of three that image i is in
            rows = [i, *others]
            some = DiagonalNormal(q.loc[rows], q.logvar[rows])
            log_q, log_product = log_aggregate(some, z[rows], 6, "stratified")
            found.append((math.exp(log_q[0]), math.exp(log_product[0])))
        means = [sum(values) / len(found) for values in zip(*found, strict=True)]
        assert means == pytest.approx([aggregate, aggregate])


def test_with_the_whole_data_set_as_batch_stratified_sampling_is_exact() -> None:
    q = posteriors(4)
    z = q.rsample(torch.randn(4, 3, generator=torch.Generator().manual_seed(2)).double())
    log_q, log_product = log_aggregate(q, z, 4, "stratified")
    for i in range(4):
        assert log_q[i].exp().item() == pytest.approx(sum(density(q, j, z[i]) for j in range(4)) / 4)
        apart = [sum(density(q, j, z[i], d) for j in range(4)) / 4 for d in range(3)]
        assert log_product[i].exp().item() == pytest.approx(math.prod(apart))


def test_each_part_has_its_weight(vae: VAE, batch: tuple[Tensor, Tensor]) -> None:
    objective = BetaTCVAE(alpha=0.5, beta=LinearWarmup(length=10, end=8.0), gamma=2.0)
    terms = objective(vae, *batch, NOW)
    mutual, total, dims = terms.others.values()
    torch.testing.assert_close(terms.loss, terms.reconstruction + 0.5 * mutual + 4.0 * total + 2.0 * dims)
    assert objective.scheduled(NOW) == {"beta": 4.0}


def test_independent_dimensions_have_no_total_correlation() -> None:
    # 21 x 21 images whose posteriors stand on a grid: q(z) is a product. On a diagonal it is far from one.
    side = torch.linspace(-2, 2, 21, dtype=torch.float64)
    for loc, correlated in ((torch.cartesian_prod(side, side), False), (torch.stack([side, side], 1), True)):
        q = DiagonalNormal(loc, torch.full_like(loc, -1.0))
        z = q.rsample(torch.randn(loc.shape, generator=torch.Generator().manual_seed(1)).double())
        log_q, log_product = log_aggregate(q, z, len(loc), "stratified")
        assert (log_q - log_product).mean().item() == pytest.approx(0.69 if correlated else 0, abs=0.2)


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("images", [1, 60])
def test_a_batch_of_one_image_is_no_trouble(
    vae: VAE, batch: tuple[Tensor, Tensor], sampling: Sampling, images: int
) -> None:
    alone = (batch[0][:1], batch[1][:1])
    terms = BetaTCVAE(sampling=sampling)(vae, *alone, Progress(0, images, images, images))
    terms.loss.sum().backward()
    assert all(term.isfinite().all() for term in terms.named().values())
    assert all(p.grad is None or p.grad.isfinite().all() for p in vae.parameters())
    # Its own posterior is all that is known of q(z).
    assert terms.others["mutual_information"].item() == pytest.approx(math.log(images))


def test_needs_dimensions_that_are_independent() -> None:
    flow = build_vae(MLP(hidden=[16]), DiagonalGaussian, RealNVP, Bernoulli(), (1, 4, 4))
    with pytest.raises(InputError, match=r"^objective=beta_tcvae: .*RealNVP.*prior=standard_normal"):
        BetaTCVAE().check(flow)
