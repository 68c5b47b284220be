"""Pictures and codes of models whose posterior is no diagonal Gaussian: on a sphere, full, and bent by a flow."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vae_experiments.generation.codes import BLOCK, encode_dataset
from vae_experiments.generation.images import class_images, interpolations, prior_samples, traversals
from vae_experiments.generation.manifold import manifold
from vae_experiments.models.architectures import MLP
from vae_experiments.models.build import build_vae
from vae_experiments.models.likelihoods import Bernoulli
from vae_experiments.models.posteriors import VMF, FullGaussian, InverseAutoregressive, Posterior, VonMisesFisher
from vae_experiments.models.priors import Prior, StandardNormal, UniformSphere
from vae_experiments.models.vae import VAE

KINDS: list[tuple[type[Posterior], type[Prior]]] = [
    (FullGaussian, StandardNormal),
    (InverseAutoregressive, StandardNormal),
    (VonMisesFisher, UniformSphere),
]


@pytest.fixture
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (23, 1, 6, 5), dtype=np.uint8)


def model(posterior: type[Posterior], prior: type[Prior], latent_dim: int) -> VAE:
    torch.manual_seed(0)
    return build_vae(MLP(latent_dim=latent_dim, hidden=[16]), posterior, prior, Bernoulli(), (1, 6, 5))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """The latents that pictures are decoded from."""
    seen: list[torch.Tensor] = []
    decode: Callable[..., torch.Tensor] = VAE.decode

    def watched(vae: VAE, z: torch.Tensor) -> torch.Tensor:
        seen.append(z)
        return decode(vae, z)

    monkeypatch.setattr(VAE, "decode", watched)
    return seen


@pytest.mark.parametrize("latent_dim", [2, 3, 8])
def test_on_a_sphere_every_picture_is_made_of_its_points(
    images: NDArray[np.uint8], decoded: list[torch.Tensor], latent_dim: int
) -> None:
    vae = model(VonMisesFisher, UniformSphere, latent_dim)
    manifold(vae, 5)
    traversals(vae, range(latent_dim), np.linspace(-3, 3, 7, dtype=np.float32))
    interpolations(vae, images[:4], images[4:8])
    prior_samples(vae, 10, torch.Generator().manual_seed(0))
    codes = encode_dataset(vae, images)
    class_images(vae, codes, np.arange(23) % 2, [0, 1], 15, np.random.default_rng(0))
    assert len(decoded) == 5
    for z in decoded:
        torch.testing.assert_close(z.norm(dim=-1), torch.ones(len(z)))
        assert len(z.unique(dim=0)) > len(z) / 3


def test_interpolations_on_a_sphere_keep_their_ends_and_stay_in_one_plane(
    images: NDArray[np.uint8], decoded: list[torch.Tensor]
) -> None:
    vae = model(VonMisesFisher, UniformSphere, 5)
    interpolations(vae, images[:1], images[1:2], steps=6)
    codes = torch.from_numpy(encode_dataset(vae, images[:2]).mean)
    z = decoded[0]
    torch.testing.assert_close(z[[0, -1]], codes)
    assert torch.linalg.matrix_rank(z, tol=1e-5) == 2


def test_an_interpolation_between_opposite_codes_does_not_jump(
    images: NDArray[np.uint8], decoded: list[torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    vae = model(VonMisesFisher, UniformSphere, 3)
    start = torch.tensor([[0.6, 0.0, 0.8]])
    end = torch.nn.functional.normalize(torch.tensor([[-0.6, 1e-3, -0.8]]))
    codes = iter([start, end])
    monkeypatch.setattr(VAE, "encode", lambda vae, x: VMF(next(codes), torch.ones(1)))
    interpolations(vae, images[:1], images[1:2], steps=11)
    torch.testing.assert_close(
        decoded[0].diff(dim=0).norm(dim=-1), torch.full((10,), 2 * np.sin(np.pi / 20)), rtol=1e-3, atol=0
    )


@pytest.mark.parametrize(("posterior", "prior"), KINDS)
def test_an_images_draw_is_the_same_whatever_comes_after_it(posterior: type[Posterior], prior: type[Prior]) -> None:
    vae = model(posterior, prior, 3)
    many = np.random.default_rng(1).integers(0, 256, (BLOCK + 20, 1, 6, 5), dtype=np.uint8)
    whole = encode_dataset(vae, many).drawn
    assert whole is not None
    for n in (1, 10, BLOCK, BLOCK + 3):
        some = encode_dataset(vae, many[:n]).drawn
        assert some is not None
        np.testing.assert_allclose(some, whole[:n], atol=1e-5)
    assert len(np.unique(whole, axis=0)) == len(whole)


@pytest.mark.parametrize(("posterior", "prior"), KINDS)
def test_codes_come_with_a_draw_from_each_posterior(
    images: NDArray[np.uint8], posterior: type[Posterior], prior: type[Prior]
) -> None:
    vae = model(posterior, prior, 3)
    codes, again = encode_dataset(vae, images), encode_dataset(vae, images)
    assert codes.logvar is None
    assert codes.drawn is not None
    np.testing.assert_array_equal(codes.drawn, again.drawn)
    np.testing.assert_array_equal(codes.draw(np.array([4, 2]), np.random.default_rng(0)), codes.drawn[[4, 2]])
    with torch.no_grad():
        q = vae.encode(torch.from_numpy(images).float() / 255)
        many = q.rsample(vae.posterior.noise(23 * 2000, torch.Generator().manual_seed(1)).unflatten(0, (2000, 23)))
        # As probable as other draws are: within what 23 of them spread, of all of their mean log q.
        log_q, expected = q.log_prob(torch.from_numpy(codes.drawn)), q.log_prob(many)
    z = (log_q - expected.mean(0)) / expected.std(0)
    assert abs(z.mean()) < 5 / 23**0.5
    assert np.abs(codes.drawn - codes.mean).max() > 0.05
