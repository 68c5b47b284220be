"""Learned priors: normalised, in agreement with their own samples, and with torch.distributions."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal, Normal

from vae_experiments.errors import InputError
from vae_experiments.models.architectures import MLP
from vae_experiments.models.build import build_vae
from vae_experiments.models.flows.coupling import AffineCoupling, alternating_masks
from vae_experiments.models.likelihoods import Bernoulli
from vae_experiments.models.posteriors import DiagonalGaussian, DiagonalNormal
from vae_experiments.models.priors import Density, GaussianMixture, Prior, RealNVP, VampPrior, vamp
from vae_experiments.models.priors.vamp import AggregatePosterior
from vae_experiments.models.vae import VAE

SHAPE = (1, 4, 5)
PRIORS: dict[str, Callable[..., Prior]] = {
    "mixture": lambda **parts: GaussianMixture(components=5, **parts),
    "vamp": lambda **parts: VampPrior(components=4, **parts),
    "realnvp": lambda **parts: RealNVP(layers=4, hidden=16, **parts),
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(name: str, latent_dim: int = 2) -> VAE:
    torch.manual_seed(0)
    return build_vae(MLP(latent_dim=latent_dim, hidden=[16]), DiagonalGaussian, PRIORS[name], Bernoulli(), SHAPE)


def moved(name: str, latent_dim: int = 2) -> VAE:
    """With weights as training might leave them: a prior that is far from N(0, I)."""
    vae = build(name, latent_dim)
    with torch.no_grad():
        for parameter in [*vae.prior.parameters(), *vae.posterior.parameters()]:
            parameter += 0.35 * torch.randn(parameter.shape, generator=generator(1))
    return vae


@pytest.fixture(params=PRIORS)
def density(request: pytest.FixtureRequest) -> Density:
    with torch.no_grad():
        return moved(request.param).latents()


def grid(reach: float = 9.0, n: int = 721) -> tuple[Tensor, float]:
    """Points of a square, [n * n, 2], and the area that each stands for."""
    line = torch.linspace(-reach, reach, n)
    return torch.cartesian_prod(line, line), float(line[1] - line[0]) ** 2


@torch.no_grad()
def test_is_normalised(density: Density) -> None:
    points, area = grid()
    assert density.log_prob(points).double().exp().sum().item() * area == pytest.approx(1, abs=1e-3)


@torch.no_grad()
def test_samples_are_those_of_the_density(density: Density) -> None:
    points, area = grid()
    p = density.log_prob(points).double().exp() * area
    z = density.sample(40_000, generator())
    for of in (
        lambda z: z[:, 0],
        lambda z: z[:, 1],
        lambda z: z[:, 0].square(),
        lambda z: z[:, 0] * z[:, 1],
        lambda z: torch.cos(3 * z[:, 0] + z[:, 1]),
        density.log_prob,
    ):
        drawn = of(z).double()
        assert abs(drawn.mean() - (p * of(points)).sum()) < 4 * drawn.std() / math.sqrt(len(z))


def test_the_generator_alone_decides_what_is_drawn(density: Density) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, again, other = (density.sample(7, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


@torch.no_grad()
def test_latents_of_any_shape_have_a_log_prob_each(density: Density) -> None:
    z = torch.randn(3, 4, 2, generator=generator())
    found = density.log_prob(z)
    assert found.shape == (3, 4)
    torch.testing.assert_close(found[1, 2], density.log_prob(z[1, 2]))


@torch.no_grad()
def test_autocast_does_not_touch_it(density: Density) -> None:
    z = torch.randn(50, 2, generator=generator())
    expected = density.log_prob(z)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(density.log_prob(z), expected)


@pytest.mark.parametrize("name", PRIORS)
def test_the_rate_is_of_this_prior_and_teaches_it(name: str) -> None:
    vae = moved(name)
    x, noise = torch.rand(6, *SHAPE, generator=generator()), torch.randn(6, 2, generator=generator())
    output = vae(x, noise)
    q = output.posterior
    torch.testing.assert_close(output.kl, q.log_prob(output.z) - vae.latents().log_prob(output.z))
    output.kl.sum().backward()
    for label, parameter in vae.prior.named_parameters():
        assert parameter.grad is not None, label
        assert parameter.grad.abs().sum() > 0, label


@pytest.mark.parametrize("name", PRIORS)
def test_training_moves_it_to_where_the_codes_are(name: str) -> None:
    # Two clusters, far from N(0, I), whose entropy no prior can be below; the flow leaves a bridge between them.
    vae = build(name)
    centres = torch.tensor([[1.5, 0.0], [-1.5, 0.0]]).repeat(256, 1)
    codes = centres + 0.3 * torch.randn(512, 2, generator=generator())
    entropy = math.log(2) + 2 * (0.5 * math.log(2 * math.pi * math.e) + math.log(0.3))
    optimizer = torch.optim.Adam(vae.parameters(), 0.02)  # of a vamp prior the encoder's weights too
    for _ in range(400):
        loss = -vae.latents().log_prob(codes).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert entropy - 0.2 < loss.item() < entropy + 0.4


def test_the_mixture_is_that_of_torch_distributions() -> None:
    vae = moved("mixture", 3)
    p = vae.latents()
    scales = torch.exp(0.5 * p.logvar)  # type: ignore[attr-defined]
    parts = Independent(Normal(p.loc, scales), 1)  # type: ignore[attr-defined]
    expected = MixtureSameFamily(Categorical(logits=vae.prior.logits), parts)
    z = 3 * torch.randn(100, 3, generator=generator())
    torch.testing.assert_close(p.log_prob(z), expected.log_prob(z), rtol=1e-4, atol=1e-4)


def test_far_from_the_origin_the_mixture_keeps_its_digits() -> None:
    prior = GaussianMixture(2, SHAPE, components=8)
    with torch.no_grad():
        prior.loc += 300
        prior.logvar.fill_(-20)  # as narrow as they get
        p = prior(None)  # type: ignore[arg-type]
        z = p.sample(200, generator())
        exact = MixtureSameFamily(
            Categorical(logits=prior.logits.double()),
            Independent(Normal(p.loc.double(), torch.exp(0.5 * p.logvar.double())), 1),
        )
        torch.testing.assert_close(p.log_prob(z).double(), exact.log_prob(z.double()), rtol=0, atol=0.01)


def test_the_vamp_prior_is_the_mean_of_the_posteriors_of_its_images() -> None:
    vae = moved("vamp", 3)
    q = vae.encode(vae.prior.pseudo_inputs)
    assert isinstance(q, DiagonalNormal)
    expected = MixtureSameFamily(
        Categorical(logits=torch.zeros(4)), Independent(Normal(q.mean, torch.exp(0.5 * q.logvar)), 1)
    )
    z = torch.randn(2, 9, 3, generator=generator())
    torch.testing.assert_close(vae.latents().log_prob(z), expected.log_prob(z), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_in_blocks_the_vamp_prior_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    p = moved("vamp").latents()
    assert isinstance(p, AggregatePosterior)
    z = torch.randn(5, 7, 2, generator=generator())
    whole = p.log_prob(z)
    monkeypatch.setattr(vamp, "BLOCK", 3 * 4 * 2)
    torch.testing.assert_close(p.log_prob(z), whole)
    with torch.enable_grad():
        torch.testing.assert_close(p.log_prob(z), whole)


def test_pseudo_inputs_begin_as_training_images() -> None:
    prior = VampPrior(2, SHAPE, components=5)
    images = torch.rand(8, *SHAPE, generator=generator()).round()
    prior.initialize(images)
    torch.testing.assert_close(prior.pseudo_inputs, images[:5], rtol=0, atol=0.011)
    prior.initialize(images[:2])  # fewer than are needed: again, and not quite alike
    torch.testing.assert_close(prior.pseudo_inputs[2:4], images[:2], rtol=0, atol=0.02)
    assert not torch.equal(prior.pseudo_inputs[2:4], prior.pseudo_inputs[:2])


@torch.no_grad()
def test_the_flow_begins_as_the_standard_normal_and_the_mixture_nearly() -> None:
    standard = MultivariateNormal(torch.zeros(8), torch.eye(8))
    z = standard.sample((4000,))
    torch.testing.assert_close(build("realnvp", 8).latents().log_prob(z), standard.log_prob(z))
    divergence = (standard.log_prob(z) - build("mixture", 8).latents().log_prob(z)).mean()
    assert divergence.abs() < 0.2  # nats, in eight dimensions and with five components


def test_a_flow_of_one_dimension_is_refused_in_one_line() -> None:
    with pytest.raises(InputError, match=r"^architecture.latent_dim=1: prior=realnvp .*prior=mixture.*$"):
        RealNVP(1, SHAPE)


def coupling(dims: int, seed: int = 0) -> AffineCoupling:
    torch.manual_seed(seed)
    layer = AffineCoupling(alternating_masks(dims, 4)[seed % 4], hidden=8).double()
    nn.init.normal_(layer.network[-1].weight)  # type: ignore[arg-type]
    return layer


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("dims", [2, 3, 5])
def test_a_couplings_log_determinant_is_autograds(dims: int, seed: int) -> None:
    layer = coupling(dims, seed)
    for z in torch.randn(3, dims, generator=generator(), dtype=torch.float64):
        jacobian = torch.autograd.functional.jacobian(lambda z: layer(z)[0], z)
        sign, expected = torch.linalg.slogdet(jacobian)
        assert sign == 1
        torch.testing.assert_close(layer(z)[1], expected)


def test_a_coupling_is_undone_by_its_inverse() -> None:
    layer = coupling(5)
    z = torch.randn(3, 4, 5, generator=generator(), dtype=torch.float64)
    image, log_det = layer(z)
    assert log_det.shape == (3, 4)
    assert (image - z).abs().max() > 0.1
    torch.testing.assert_close(layer.inverse(image), z)


@pytest.mark.parametrize("dims", [2, 3, 7])
def test_two_couplings_after_one_another_move_every_dimension_once(dims: int) -> None:
    masks = alternating_masks(dims, 8)
    for before, after in zip(masks[::2], masks[1::2], strict=True):
        assert torch.equal(before, ~after)
        assert before.any()
        assert after.any()
