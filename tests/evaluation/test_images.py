"""Similarity of images, against an independent computation."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from vae_experiments.evaluation import images
from vae_experiments.evaluation.images import squared_errors, ssim

Array = NDArray[np.float64]


def pair(shape: tuple[int, ...], seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    x = rng.random(shape)
    return x, np.clip(x + rng.normal(0, 0.2, shape), 0, 1)


def ssim_of_one_channel(x: Array, y: Array, radius: int) -> float:
    """By SciPy's filter, over the places where no pixel beyond the edge counts."""

    def smooth(values: Array) -> Array:
        smoothed: Array = gaussian_filter(values, sigma=1.5, radius=radius, mode="constant")
        return smoothed[radius : len(x) - radius, radius : x.shape[1] - radius]

    mx, my = smooth(x), smooth(y)
    vx, vy, cov = smooth((x - 0.5) ** 2), smooth((y - 0.5) ** 2), smooth((x - 0.5) * (y - 0.5))
    vx, vy, cov = vx - (mx - 0.5) ** 2, vy - (my - 0.5) ** 2, cov - (mx - 0.5) * (my - 0.5)
    c1, c2 = 0.0001, 0.0009
    index = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return float(index.mean())


@pytest.mark.parametrize(
    ("size", "radius"),
    [((28, 28), 5), ((32, 17), 5), ((11, 11), 5), ((10, 30), 4), ((8, 9), 3), ((3, 4), 1), ((2, 9), 0)],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_is_what_scipys_filter_makes_it(channels: int, size: tuple[int, int], radius: int) -> None:
    x, y = pair((4, channels, *size))
    expected = [
        np.mean([ssim_of_one_channel(a[c], b[c], radius) for c in range(channels)]) for a, b in zip(x, y, strict=True)
    ]
    np.testing.assert_allclose(ssim(x, y), expected, rtol=1e-9)


def test_an_image_is_wholly_similar_to_itself_and_to_nothing_else() -> None:
    x, y = pair((3, 1, 16, 16))
    np.testing.assert_allclose(ssim(x, x), 1, rtol=1e-12)
    assert (ssim(x, y) < 0.99).all()
    np.testing.assert_allclose(ssim(x, y), ssim(y, x), rtol=1e-12)


def test_two_flat_images_differ_by_their_brightness_alone() -> None:
    x, y = np.full((1, 1, 20, 20), 0.2), np.full((1, 1, 20, 20), 0.8)
    np.testing.assert_allclose(ssim(x, y), (2 * 0.2 * 0.8 + 1e-4) / (0.2**2 + 0.8**2 + 1e-4), rtol=1e-9)


def test_an_inverted_image_is_dissimilar() -> None:
    x = np.random.default_rng(0).random((1, 1, 28, 28))
    assert ssim(x, 1 - x)[0] < -0.5


def test_squared_errors_are_means_over_all_pixels_of_an_image() -> None:
    x, y = pair((5, 3, 4, 6))
    np.testing.assert_allclose(squared_errors(x, y), ((x - y) ** 2).reshape(5, -1).mean(1), rtol=1e-12)


@pytest.mark.parametrize("measure", [squared_errors, ssim])
def test_each_image_is_measured_alone(measure, monkeypatch) -> None:
    x, y = (images.astype(np.float32) for images in pair((7, 1, 12, 12)))
    whole = measure(x, y)
    monkeypatch.setattr(images, "BLOCK_PIXELS", 2 * 12 * 12)
    np.testing.assert_allclose(measure(x, y), whole, rtol=1e-12)
    np.testing.assert_allclose(measure(x[3:4], y[3:4]), whole[3:4], rtol=1e-12)
    assert measure(x[:0], y[:0]).shape == (0,)


@pytest.mark.parametrize("measure", [squared_errors, ssim])
def test_images_of_two_shapes_are_refused(measure) -> None:
    with pytest.raises(ValueError, match=r"\(2, 1, 8, 8\) and \(1, 1, 8, 8\)"):
        measure(np.zeros((2, 1, 8, 8)), np.zeros((1, 1, 8, 8)))
