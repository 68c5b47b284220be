"""The uniform prior on the sphere: its area, its moments, and the way back onto it."""

import math

import pytest
import torch

from vae_experiments.errors import InputError
from vae_experiments.models.posteriors import DiagonalNormal
from vae_experiments.models.priors import UniformSphere
from vae_experiments.models.priors.uniform_sphere import Uniform
from vae_experiments.models.sphere import log_area


def test_areas_of_the_first_spheres_are_the_known_ones() -> None:
    known = {2: 2 * math.pi, 3: 4 * math.pi, 4: 2 * math.pi**2, 5: 8 * math.pi**2 / 3}
    assert {dims: math.exp(log_area(dims)) for dims in known} == pytest.approx(known)


@pytest.mark.parametrize("dims", [2, 3, 50])
def test_the_density_is_one_over_the_area_everywhere(dims: int) -> None:
    p = Uniform(dims)
    z = p.sample(30, torch.Generator().manual_seed(0)).reshape(5, 6, dims)
    torch.testing.assert_close(p.log_prob(z), torch.full((5, 6), -log_area(dims)))


@pytest.mark.parametrize("dims", [2, 3, 50])
def test_draws_lie_on_the_sphere_and_favour_no_direction(dims: int) -> None:
    n = 50_000
    z = Uniform(dims).sample(n, torch.Generator().manual_seed(1))
    torch.testing.assert_close(z.norm(dim=-1), torch.ones(n))
    assert z.mean(0).norm() < 5 / math.sqrt(n)
    assert (z.T @ z / n - torch.eye(dims) / dims).abs().max() < 5 / math.sqrt(n * dims)


def test_a_gaussian_has_no_kl_to_it() -> None:
    assert Uniform(3).kl(DiagonalNormal(torch.zeros(2, 3), torch.zeros(2, 3))) is None


def test_the_nearest_latent_has_length_one_even_to_the_origin() -> None:
    prior = UniformSphere(3, (1, 1, 1))
    z = torch.tensor([[[3.0, 0.0, 4.0], [0.0, 0.0, 0.0]], [[0.0, -0.1, 0.0], [1e-20, 0.0, 0.0]]])
    nearest = prior.nearest(z)
    torch.testing.assert_close(nearest.norm(dim=-1), torch.ones(2, 2))
    torch.testing.assert_close(nearest[0, 0], torch.tensor([0.6, 0.0, 0.8]))
    torch.testing.assert_close(nearest[0, 1], prior.centre())
    torch.testing.assert_close(prior.nearest(prior.centre()), prior.centre())


@pytest.mark.parametrize("dims", [2, 3, 20])
@pytest.mark.parametrize("apart", [0.0, 1e-5, 1.0, math.pi - 1e-3, math.pi - 1e-6, math.pi])
def test_the_way_between_two_latents_is_an_arc_in_equal_steps(dims: int, apart: float) -> None:
    basis = torch.linalg.qr(torch.randn(dims, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64))[0].T
    a, b = basis[0].float(), (math.cos(apart) * basis[0] + math.sin(apart) * basis[1]).float()
    share = torch.linspace(0, 1, 9)[:, None]
    way = UniformSphere(dims, (1, 1, 1)).between(a, b, share)
    torch.testing.assert_close(way.norm(dim=-1), torch.ones(9))
    torch.testing.assert_close(way[[0, -1]], torch.stack([a, b]), atol=2e-7, rtol=0)
    torch.testing.assert_close(way.diff(dim=0).norm(dim=-1), torch.full((8,), 2 * math.sin(apart / 16)))
    if 0 < apart < math.pi - 1e-4:  # nearer to the opposite end float32 does not say on which side the way is shorter
        exact = torch.cos(share * apart) * basis[0] + torch.sin(share * apart) * basis[1]
        torch.testing.assert_close(way.double(), exact, atol=3e-4 if apart > 3 else 1e-6, rtol=0)


def test_opposite_latents_on_an_axis_have_a_way_too() -> None:
    for dims in (2, 3):
        a = torch.eye(dims)
        way = UniformSphere(dims, (1, 1, 1)).between(a, -a, torch.tensor([0.5]))
        torch.testing.assert_close(way.norm(dim=-1), torch.ones(dims))
        torch.testing.assert_close((way * a).sum(-1), torch.zeros(dims), atol=1e-6, rtol=0)


def test_a_single_dimension_is_refused() -> None:
    with pytest.raises(InputError, match="needs two dimensions"):
        UniformSphere(1, (1, 1, 1))
