import numpy as np
import pytest
import torch

from vae_experiments.generation.codes import Codes, encode_dataset
from vae_experiments.generation.images import (
    class_images,
    interpolations,
    prior_samples,
    reconstructions,
    traversals,
)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (9, 1, 6, 5), dtype=np.uint8)


def test_prior_samples_are_the_models_and_repeat_with_the_generator(make_vae):
    vae = make_vae()
    first = prior_samples(vae, 12, torch.Generator().manual_seed(5))
    with torch.no_grad():
        expected = vae.sample(12, torch.Generator().manual_seed(5))
    np.testing.assert_allclose(first, expected, atol=1e-6)
    np.testing.assert_array_equal(first, prior_samples(vae, 12, torch.Generator().manual_seed(5)))
    assert not np.array_equal(first, prior_samples(vae, 12, torch.Generator().manual_seed(6)))


def test_reconstructions_are_the_models(make_vae, images):
    vae = make_vae()
    with torch.no_grad():
        expected = vae.reconstruct(torch.from_numpy(images).float() / 255)
    np.testing.assert_allclose(reconstructions(vae, images), expected, atol=1e-5)


def test_a_traversal_moves_one_dimension_only(make_echo):
    values = np.array([-2, 0, 2], np.float32)
    z = traversals(make_echo(3), [2, 0], values, at=np.array([5, 6, 7], np.float32))[:, :, 0, :, 0]
    np.testing.assert_array_equal(z[0], [[5, 6, -2], [5, 6, 0], [5, 6, 2]])
    np.testing.assert_array_equal(z[1], [[-2, 6, 7], [0, 6, 7], [2, 6, 7]])


def test_an_interpolation_runs_from_one_code_to_the_other_in_equal_steps(make_echo):
    vae = make_echo(2)
    rng = np.random.default_rng(1)
    start, end = rng.integers(0, 256, (2, 4, 1, 2, 1), dtype=np.uint8)
    z = interpolations(vae, start, end, steps=5)[:, :, 0, :, 0]
    np.testing.assert_allclose(z[:, 0], encode_dataset(vae, start).mean, atol=1e-6)
    np.testing.assert_allclose(z[:, -1], encode_dataset(vae, end).mean, atol=1e-6)
    steps = np.diff(z, axis=1)
    np.testing.assert_allclose(steps, np.broadcast_to(steps[:, :1], steps.shape), atol=1e-5)


def _clusters(spread):
    mean = np.repeat(np.float32([[0, 0], [100, 0], [0, 100]]), [50, 30, 1], axis=0)
    labels = np.repeat([4, 7, 9], [50, 30, 1])
    return Codes(mean, np.full_like(mean, spread), None), labels


def test_images_of_a_class_come_from_its_own_region(make_echo):
    codes, labels = _clusters(spread=0.0)
    images = class_images(make_echo(2), codes, labels, [9, 4, 7], 8, np.random.default_rng(0))
    assert images.shape == (3, 8, 1, 2, 1)
    np.testing.assert_allclose(images.mean(axis=1)[:, 0, :, 0], [[0, 100], [0, 0], [100, 0]], atol=2)
    assert images.std(axis=1).min() > 0.2  # a class with a single image varies too


def test_images_of_a_class_repeat_with_the_generator(make_echo):
    codes, labels = _clusters(spread=0.0)
    first, second = (class_images(make_echo(2), codes, labels, [4], 8, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_class_without_images_is_named(make_echo):
    codes, labels = _clusters(spread=0.0)
    with pytest.raises(ValueError, match="class 5 has no image among the 81"):
        class_images(make_echo(2), codes, labels, [4, 5], 2, np.random.default_rng(0))
