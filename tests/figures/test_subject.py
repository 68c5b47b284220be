import numpy as np
import pytest

from vae_experiments.figures.config import FiguresConfig
from vae_experiments.figures.raster import Ink, to_pixels
from vae_experiments.figures.subject import Subject, epoch_manifold
from vae_experiments.generation.manifold import manifold


def test_only_validation_images_are_encoded_and_no_more_than_asked_for(make_vae, make_data):
    data = make_data(n=90, names=["a", "b"])
    everything = Subject(make_vae(), data, FiguresConfig())
    np.testing.assert_array_equal(everything.rows, data.parts.val)
    few = Subject(make_vae(), data, FiguresConfig(max_points=7))
    assert len(np.unique(few.rows)) == 7
    assert np.isin(few.rows, data.parts.val).all()
    assert len(few.codes.mean) == 7
    np.testing.assert_array_equal(few.rows, Subject(make_vae(), data, FiguresConfig(max_points=7)).rows)
    np.testing.assert_array_equal(few.labels, data.dataset.labels[few.rows])


def test_dynamically_binarised_images_are_seen_binary(make_vae, make_data):
    data = make_data(n=600, binarization="dynamic")
    data.dataset.images[:, :, :3] = 51  # white one time in five
    images = Subject(make_vae(), data, FiguresConfig()).images
    assert set(np.unique(images)) == {0, 255}
    assert (images[:, :, :3] == 255).mean() == pytest.approx(0.2, abs=0.03)
    # One draw of each image, whichever part of a picture it is in.
    subject = Subject(make_vae(), data, FiguresConfig())
    np.testing.assert_array_equal(subject.images, images)
    few = Subject(make_vae(), data, FiguresConfig(max_points=7))
    at = [int(np.flatnonzero(subject.rows == row)[0]) for row in few.rows]
    np.testing.assert_array_equal(few.images, images[at])


def test_the_seeds_palette_colours_grey_manifolds_only(make_vae, make_data):
    seed = FiguresConfig(palette="seed")
    grey = Subject(make_vae(), make_data(), seed)
    assert grey.manifold_ink == Ink(colormap="gnuplot2")
    assert grey.ink.colormap is None
    colour = Subject(make_vae(shape=(3, 6, 5)), make_data((3, 6, 5)), seed)
    assert colour.manifold_ink == Ink()


@pytest.mark.parametrize(("latent_dim", "rows"), [(1, 1), (2, 20), (10, 20)])
def test_an_epochs_manifold_is_plain_pixels_and_repeats(make_vae, make_data, latent_dim, rows):
    subject = Subject(make_vae(latent_dim), make_data(), FiguresConfig())
    frame = epoch_manifold(subject)
    assert frame.dtype == np.uint8
    assert frame.shape == (rows * 6, 20 * 5, 3)
    np.testing.assert_array_equal(frame, epoch_manifold(subject))


def test_an_epochs_manifold_runs_over_the_most_active_dimensions(make_vae, make_data):
    vae = make_vae(5)
    vae.posterior.mean.weight.data[[0, 2, 3]] = 0  # leaves dimensions 1 and 4 active
    subject = Subject(vae, make_data(), FiguresConfig(epoch_manifold_size=3))
    assert subject.manifold_dims() == (1, 4)
    tiles = to_pixels(manifold(vae, 3, dims=(1, 4)), subject.ink)
    np.testing.assert_array_equal(epoch_manifold(subject)[:6, 5:10], tiles[0, 1])
