"""A trained model's methods against the network they stand for."""

import copy
from unittest.mock import sentinel

import numpy as np
import pytest
import torch

from vae_experiments.models.architectures import MLP
from vae_experiments.models.build import build_vae
from vae_experiments.models.likelihoods import Bernoulli, DiscretizedLogistic
from vae_experiments.models.posteriors import DiagonalGaussian, VonMisesFisher
from vae_experiments.models.priors import StandardNormal, UniformSphere
from vae_experiments.use.model import TrainedModel


@pytest.fixture(params=["grey", "colour", "sphere"])
def model(request: pytest.FixtureRequest) -> TrainedModel:
    torch.manual_seed(0)
    architecture = MLP(latent_dim=3, hidden=[16])
    if request.param == "grey":
        vae = build_vae(architecture, DiagonalGaussian, StandardNormal, Bernoulli(), (1, 6, 5))
    elif request.param == "colour":
        vae = build_vae(architecture, DiagonalGaussian, StandardNormal, DiscretizedLogistic(), (3, 6, 5))
    else:
        vae = build_vae(architecture, VonMisesFisher, UniformSphere, Bernoulli(), (1, 6, 5))
    return TrainedModel(vae.eval(), "m", None, sentinel.run)


def levels(model: TrainedModel, n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, *model.image_shape), np.uint8)


def test_codes_and_images_are_the_networks(model: TrainedModel) -> None:
    images = levels(model, 700)  # several blocks, the last one smaller
    x = torch.from_numpy(images).double() / 255
    double = copy.deepcopy(model.vae).double()
    with torch.no_grad():
        mean = double.encode(x).mean
        expected = {"codes": mean.numpy(), "images": double.images(mean.double()).numpy()}
    codes = model.encode(images)
    assert codes.dtype == np.float32
    np.testing.assert_allclose(codes, expected["codes"], atol=1e-5)
    np.testing.assert_allclose(model.decode(codes), expected["images"], atol=1e-5)
    np.testing.assert_allclose(model.reconstruct(images), expected["images"], atol=1e-5)


def test_uint8_and_floats_arrays_and_tensors_mean_the_same(model: TrainedModel) -> None:
    images = levels(model, 5)
    codes = model.encode(images)
    np.testing.assert_array_equal(model.encode((images / 255).astype(np.float32)), codes)
    np.testing.assert_array_equal(model.encode(np.moveaxis(images, 1, 3)), codes)
    tensor = model.encode(torch.from_numpy(images))
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_array_equal(tensor.numpy(), codes)
    tensor.requires_grad_()  # an ordinary tensor, to be trained on
    tensor.sum().backward()


def test_reconstructions_have_the_form_that_came_in(model: TrainedModel) -> None:
    images = levels(model, 4)
    last = model.reconstruct(np.moveaxis(images, 1, 3))
    np.testing.assert_array_equal(np.moveaxis(last, 3, 1), model.reconstruct(images))
    if model.image_shape[0] == 1:
        np.testing.assert_array_equal(model.reconstruct(images[:, 0]), model.reconstruct(images)[:, 0])


def test_samples_are_decoded_draws_from_the_prior(model: TrainedModel) -> None:
    z = model.latents(20_000, seed=3)
    np.testing.assert_array_equal(z, model.latents(20_000, seed=3))
    assert not np.array_equal(z, model.latents(20_000, seed=4))
    variance = 1 / 3 if model.vae.prior.space == "sphere" else 1.0
    # Four standard errors; those of the variance from the kurtosis of a normal, which the sphere's is below.
    assert abs(z.mean(0)).max() < 4 * (variance / 20_000) ** 0.5
    np.testing.assert_allclose(z.var(0), variance, atol=4 * variance * (2 / 20_000) ** 0.5)
    np.testing.assert_array_equal(model.sample(7, seed=3), model.decode(model.latents(7, seed=3)))
    with pytest.raises(ValueError, match="n=-1"):
        model.sample(-1)


def test_no_images_give_no_codes(model: TrainedModel) -> None:
    assert model.encode(levels(model, 0)).shape == (0, 3)
    assert model.sample(0).shape == (0, *model.image_shape)


def test_nothing_is_left_changed(model: TrainedModel) -> None:
    images = levels(model, 3)
    before = images.copy()
    model.vae.train()
    state = torch.get_rng_state()
    model.encode(images)
    model.sample(2)
    assert model.vae.training
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(images, before)
