import numpy as np
import pytest
from scipy.stats import norm

from vae_experiments.generation import inference
from vae_experiments.generation.manifold import manifold, normal_quantiles


@pytest.mark.parametrize("n", [2, 7, 40])
def test_the_quantiles_are_the_normal_ones(n):
    expected = norm.ppf(np.linspace(0.05, 0.95, n))
    np.testing.assert_allclose(normal_quantiles(n), expected, rtol=1e-6, atol=1e-7)


def test_the_first_dimension_grows_to_the_right_and_the_second_upwards(make_echo):
    z = manifold(make_echo(2), n=5)[..., 0, :, 0]
    values = normal_quantiles(5)
    assert z.shape == (5, 5, 2)
    for row in range(5):
        np.testing.assert_array_equal(z[row, :, 0], values)
    for column in range(5):
        np.testing.assert_array_equal(z[::-1, column, 1], values)


def test_chosen_dimensions_run_and_the_others_stay(make_echo):
    at = np.array([9, 8, 7, 6], np.float32)
    z = manifold(make_echo(4), n=3, dims=(2, 0), at=at)[..., 0, :, 0]
    values = normal_quantiles(3)
    np.testing.assert_array_equal(z[0, :, 2], values)
    np.testing.assert_array_equal(z[:, 0, 0], values[::-1])
    assert (z[..., 1] == 8).all()
    assert (z[..., 3] == 6).all()


def test_one_latent_dimension_gives_one_row(make_echo):
    z = manifold(make_echo(1), n=6, dims=(0, 0))
    assert z.shape == (1, 6, 1, 1, 1)
    np.testing.assert_array_equal(z.ravel(), normal_quantiles(6))


def _count_decodes(vae):
    calls = []
    vae.decoder.register_forward_hook(lambda module, inputs, output: calls.append(len(inputs[0])))
    return calls


def test_forty_by_forty_digits_are_decoded_in_a_few_blocks(make_vae):
    vae = make_vae(shape=(1, 28, 28))
    calls = _count_decodes(vae)
    images = manifold(vae)
    assert sum(calls) == 1600
    assert len(calls) <= 6
    assert images.shape == (40, 40, 1, 28, 28)
    assert images.dtype == np.float32


def test_memory_stays_bounded_for_large_images(make_vae, monkeypatch):
    vae = make_vae(shape=(3, 8, 8))
    whole = manifold(vae, n=6)
    monkeypatch.setattr(inference, "BLOCK_PIXELS", 8 * 8 * 10)
    calls = _count_decodes(vae)
    blocks = manifold(vae, n=6)
    assert calls == [10, 10, 10, 6]
    np.testing.assert_allclose(blocks, whole, atol=1e-6)
