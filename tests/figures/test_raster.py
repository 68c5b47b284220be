import subprocess
import sys

import matplotlib
import numpy as np
import pytest

from vae_experiments.figures.raster import (
    GUTTER,
    Ink,
    enlarge,
    manifold_frame,
    shrink,
    tile,
    to_pixels,
    without_colour,
)


def test_light_on_black_becomes_ink_on_paper():
    images = np.zeros((3, 1, 8, 8), np.uint8)
    images[:, :, 3:5, 3:5] = 255
    assert Ink.for_images(images) == Ink(inverted=True)
    assert Ink.for_images(255 - images) == Ink()
    assert Ink.for_images(np.repeat(images, 3, axis=1)) == Ink()  # colours stay as they are
    pixels = to_pixels(images, Ink.for_images(images))
    assert (pixels[0, 0, 0] == 255).all()
    assert (pixels[0, 3, 3] == 0).all()


def test_floats_and_bytes_give_the_same_pixels():
    images = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    np.testing.assert_array_equal(to_pixels(images, Ink()), to_pixels((images / 255).astype(np.float32), Ink()))


def test_colours_keep_their_order():
    image = np.zeros((1, 3, 2, 2), np.uint8)
    image[0, 0] = 200
    image[0, 2] = 10
    np.testing.assert_array_equal(to_pixels(image, Ink(inverted=True))[0, 0, 0], [200, 0, 10])


@pytest.mark.parametrize("channels", [2, 4, 7])
def test_other_channel_counts_show_their_mean(channels):
    image = np.zeros((1, channels, 2, 2), np.uint8)
    image[0, 0] = 100
    assert (to_pixels(image, Ink()) == 100 // channels).all()


def test_a_colour_map_is_matplotlibs():
    image = np.array([[[[0, 100, 255]]]], np.uint8)
    expected = np.rint(matplotlib.colormaps["gnuplot2"]([0, 100, 255])[:, :3] * 255)
    np.testing.assert_array_equal(to_pixels(image, Ink(colormap="gnuplot2"))[0, 0], expected)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(bad):
    image = np.zeros((1, 1, 2, 2), np.float32)
    image[0, 0, 0, 1] = bad
    with pytest.raises(ValueError, match="not finite"):
        to_pixels(image, Ink())


def test_tiles_lie_in_rows_with_lines_between():
    tiles = np.arange(6, dtype=np.uint8).reshape(2, 3, 1, 1, 1).repeat(3, axis=-1)
    np.testing.assert_array_equal(tile(tiles)[..., 0], [[0, 1, 2], [3, 4, 5]])
    g = GUTTER
    np.testing.assert_array_equal(
        tile(tiles, 1)[..., 0],
        [[g] * 7, [g, 0, g, 1, g, 2, g], [g] * 7, [g, 3, g, 4, g, 5, g], [g] * 7],
    )


def test_shrinking_undoes_enlarging():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 4, 3), dtype=np.uint8)
    assert enlarge(pixels, 3).shape == (2, 3, 15, 12, 3)
    np.testing.assert_array_equal(shrink(enlarge(pixels, 3), 3), pixels)


def test_shrinking_takes_means_and_keeps_what_is_left_over():
    row = np.array([0, 10, 20, 30, 200], np.uint8)[None, :, None].repeat(3, axis=-1)
    np.testing.assert_array_equal(shrink(row, 2)[..., 0], [[5, 25, 200]])


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 64, 64), (1, 1, 500), (1, 500, 1)])
def test_an_epochs_manifold_is_a_small_plain_picture(shape):
    frame = manifold_frame(np.zeros((20, 20, *shape), np.float32), Ink(inverted=True))
    assert frame.dtype == np.uint8
    assert frame.ndim == 3
    assert frame.shape[2] == 3
    assert min(frame.shape[:2]) >= 20
    assert max(frame.shape[:2]) <= 600


def test_an_epochs_manifold_needs_no_matplotlib():
    code = (
        "import sys, numpy as np, vae_experiments.figures.subject, vae_experiments.figures.config\n"
        "from vae_experiments.figures.raster import Ink, manifold_frame\n"
        "manifold_frame(np.zeros((2, 2, 1, 4, 4), np.float32), Ink(inverted=True))\n"
        "assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_picture_without_colour_is_told_by_every_one_of_its_dots():
    grey = np.arange(24, dtype=np.uint8).reshape(4, 6)
    pixels = np.stack([grey] * 3, axis=-1)
    np.testing.assert_array_equal(without_colour(pixels), grey)
    for channel in range(3):
        coloured = pixels.copy()
        coloured[3, 5, channel] += 1
        assert without_colour(coloured) is coloured
