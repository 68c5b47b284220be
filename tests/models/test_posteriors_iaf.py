"""The inverse autoregressive flow: its density against autograd's Jacobian, by inversion, and over a grid."""

import math

import pytest
import torch
from torch import Tensor

from vae_experiments.errors import InputError
from vae_experiments.models.flows.autoregressive import AutoregressiveNet
from vae_experiments.models.posteriors import DiagonalGaussian, FlowNormal, InverseAutoregressive
from vae_experiments.models.priors import StandardNormal, VampPrior


def normals(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def bent(posterior: InverseAutoregressive, spread: float = 0.3) -> InverseAutoregressive:
    """The same with last layers as after some training: a new flow hardly bends anything."""
    for number, layer in enumerate(posterior.layers):
        assert isinstance(layer, AutoregressiveNet)
        with torch.no_grad():
            layer.last.weight.copy_(spread * normals(*layer.last.weight.shape, seed=100 + number))
    return posterior


@pytest.fixture
def q() -> FlowNormal:
    torch.manual_seed(0)
    distribution: FlowNormal = bent(InverseAutoregressive(6, 3, layers=3, hidden=16))(normals(5, 6, seed=1))
    return distribution


@pytest.mark.parametrize("dims", [1, 2, 9])
@pytest.mark.parametrize("hidden", [9, 32])
def test_a_draws_log_q_is_found_again_by_inversion(dims: int, hidden: int) -> None:
    torch.manual_seed(0)
    q = bent(InverseAutoregressive(6, dims, hidden=hidden))(normals(5, 6, seed=6))
    z, log_q = q.draw(normals(20, 5, dims, seed=7))
    assert torch.equal(z, q.rsample(normals(20, 5, dims, seed=7)))
    torch.testing.assert_close(q.log_prob(z), log_q, rtol=1e-4, atol=1e-3)
    with torch.no_grad():  # block by block
        torch.testing.assert_close(q.log_prob(z), log_q, rtol=1e-4, atol=1e-3)


def test_log_prob_is_the_change_of_variables(q: FlowNormal) -> None:
    noise = normals(5, 3, seed=8)
    _, log_q = q.draw(noise)
    for image in range(5):
        one = q[image : image + 1]
        jacobian = torch.autograd.functional.jacobian(lambda v, one=one: one.rsample(v[None])[0], noise[image])
        expected = -0.5 * (noise[image].square() + math.log(2 * math.pi)).sum() - torch.linalg.slogdet(jacobian)[1]
        torch.testing.assert_close(log_q[image], expected, rtol=1e-4, atol=1e-4)


def test_the_density_integrates_to_one() -> None:
    torch.manual_seed(0)
    q = bent(InverseAutoregressive(6, 2, hidden=8))(normals(3, 6, seed=9))
    q = q.detach()
    z, _ = q.draw(normals(20_000, 3, 2, seed=10))
    low, high = z.amin((0, 1)) - 2, z.amax((0, 1)) + 2
    axes = [torch.linspace(float(a), float(b), 400) for a, b in zip(low, high, strict=True)]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    with torch.no_grad():
        density = q.log_prob(grid[..., None, :]).double().exp()
    total = torch.trapezoid(torch.trapezoid(density, axes[1].double(), dim=1), axes[0].double(), dim=0)
    torch.testing.assert_close(total, torch.ones(3, dtype=torch.float64), atol=2e-3, rtol=0)


def test_every_latent_under_every_image(q: FlowNormal) -> None:
    z = normals(7, 3, seed=11)
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            together = q.log_prob(z[:, None])
            apart = torch.stack([q[i : i + 1].log_prob(z[:, None])[:, 0] for i in range(5)], 1)
        assert together.shape == (7, 5)
        torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-4)


def test_the_aggregate_of_flows_integrates_like_their_mean(q: FlowNormal) -> None:
    prior = VampPrior(3, (1, 2, 3), components=5)
    density = prior(lambda _: q)
    z = density.sample(50, torch.Generator().manual_seed(12))
    expected = q.log_prob(z[:, None]).exp().mean(1).log()
    torch.testing.assert_close(density.log_prob(z), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("dims", "hidden"), [(3, 3), (3, 16), (130, 130)])
def test_each_dimension_depends_on_all_before_it(dims: int, hidden: int) -> None:
    torch.manual_seed(0)
    q = bent(InverseAutoregressive(6, dims, layers=1, hidden=hidden))(normals(1, 6, seed=22))
    jacobian = torch.autograd.functional.jacobian(lambda v: q.rsample(v[None])[0], normals(dims, seed=23)).flip(0)
    assert (jacobian.tril() != 0).sum() == dims * (dims + 1) // 2
    assert (jacobian.triu(1) == 0).all()


def test_fewer_hidden_units_than_dimensions_are_refused() -> None:
    with pytest.raises(InputError, match=r"^posterior\.hidden=128: .*architecture\.latent_dim=129") as caught:
        InverseAutoregressive(6, 129)
    assert "\n" not in str(caught.value)


def test_kl_to_a_standard_normal_is_left_to_the_draws(q: FlowNormal) -> None:
    assert StandardNormal(3, (1, 2, 3))(lambda _: q).kl(q) is None


def test_at_first_it_is_nearly_its_base() -> None:
    torch.manual_seed(0)
    posterior = InverseAutoregressive(6, 3, layers=2)
    q = posterior(normals(5, 6, seed=13))
    noise = normals(5, 3, seed=14)
    gate = torch.sigmoid(torch.tensor(2.0))
    torch.testing.assert_close(q.rsample(noise), gate**2 * q.base.rsample(noise))  # two reversals are none
    torch.testing.assert_close(q.mean, gate**2 * q.base.mean)


def test_detached_it_is_the_same_density_and_only_latents_have_gradients() -> None:
    torch.manual_seed(0)
    posterior = bent(InverseAutoregressive(6, 3, layers=2, hidden=8))
    q = posterior(normals(5, 6, seed=15))
    z = q.rsample(normals(5, 3, seed=16)).detach().requires_grad_()
    held = q.detach().log_prob(z)
    torch.testing.assert_close(held, q.log_prob(z))
    held.sum().backward()
    assert all(parameter.grad is None for parameter in posterior.parameters())
    start = z.detach().double()
    exact = bent(InverseAutoregressive(6, 3, layers=2, hidden=8))
    exact.load_state_dict(posterior.state_dict())
    double = exact.double()(normals(5, 6, seed=15).double()).detach()
    numeric = torch.stack(
        [
            (double.log_prob(start + 1e-5 * unit) - double.log_prob(start - 1e-5 * unit)) / 2e-5
            for unit in torch.eye(3, dtype=torch.float64)
        ],
        -1,
    )
    assert z.grad is not None
    torch.testing.assert_close(z.grad.double(), numeric, rtol=1e-3, atol=1e-3)


def test_float32_under_bfloat16_autocast(q: FlowNormal) -> None:
    noise, z = normals(7, 5, 3, seed=17), normals(7, 5, 3, seed=18)
    exact = (*q.draw(noise), q.log_prob(z), q.mean)
    with torch.autocast("cpu", torch.bfloat16):
        for value, expected in zip((*q.draw(noise), q.log_prob(z), q.mean), exact, strict=True):
            assert torch.equal(value, expected)
        made = InverseAutoregressive(6, 3)(normals(2, 6, seed=19))
        assert made.draw(normals(2, 3, seed=20))[1].dtype == torch.float32


def test_it_fits_what_a_diagonal_gaussian_cannot() -> None:
    """Two latents on a bow: after the same steps the flow is far nearer to them, by KL(q || p)."""

    def log_p(z: Tensor) -> Tensor:
        bow = z[..., 1] - 2 * z[..., 0].square()
        return -0.5 * (z[..., 0].square() + (bow / 0.2).square() + 2 * math.log(2 * math.pi)) - math.log(0.2)

    gaps = {}
    torch.manual_seed(0)
    for posterior in (InverseAutoregressive(1, 2, layers=2, hidden=16), DiagonalGaussian(1, 2)):
        optimizer, generator = torch.optim.Adam(posterior.parameters(), 1e-2), torch.Generator().manual_seed(21)
        for _ in range(300):
            z, log_q = posterior(torch.ones(1, 1)).draw(torch.randn(128, 1, 2, generator=generator))
            gap = (log_q - log_p(z)).mean()
            optimizer.zero_grad()
            gap.backward()
            optimizer.step()
        with torch.no_grad():
            z, log_q = posterior(torch.ones(1, 1)).draw(torch.randn(20_000, 1, 2, generator=generator))
            gaps[type(posterior)] = (log_q - log_p(z)).mean().item()
    assert gaps[InverseAutoregressive] < gaps[DiagonalGaussian] / 2
