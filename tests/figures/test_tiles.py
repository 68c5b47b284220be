import numpy as np
import pytest

from vae_experiments.figures.raster import Ink, enlarge, tile, to_pixels
from vae_experiments.figures.style import render
from vae_experiments.figures.tiles import (
    image_grid,
    interpolation_rows,
    labelled_rows,
    manifold_figure,
    reconstruction_pairs,
    signed,
    traversal_rows,
)


def _contains(picture, part):
    """Whether `part` [h, w, 3] stands in the picture, dot for dot."""
    h, w = part.shape[:2]
    rows, columns = picture.shape[0] - h + 1, picture.shape[1] - w + 1
    corners = [picture[y : y + rows, x : x + columns] == part[y, x] for y in (0, h - 1) for x in (0, w - 1)]
    places = np.argwhere(np.all(corners, axis=(0, -1)))
    return any((picture[y : y + h, x : x + w] == part).all() for y, x in places)


@pytest.fixture
def images():
    return np.random.default_rng(0).random((6, 1, 7, 5)).astype(np.float32)


def test_every_image_pixel_is_a_square_of_dots(images):
    picture = render(image_grid(images, 3, Ink(), "Images"))
    factor = 1200 // 15
    whole = tile(enlarge(to_pixels(images, Ink()).reshape(2, 3, 7, 5, 3), factor), 2)
    assert _contains(picture, whole)


def test_the_manifold_is_drawn_dot_for_dot_with_its_first_row_on_top():
    images = np.random.default_rng(0).random((40, 40, 1, 28, 28)).astype(np.float32)
    figure = manifold_figure(images, np.linspace(-1.64, 1.64, 40, dtype=np.float32), (0, 1), Ink(), "note")
    picture = render(figure)
    whole = to_pixels(images, Ink()).swapaxes(1, 2).reshape(1120, 1120, 3)
    assert _contains(picture, whole[2:-2, 2:-2])  # the frame covers the outermost dots


def test_the_manifolds_axes_name_their_dimensions_and_grow_right_and_up():
    values = np.linspace(-1.64, 1.64, 5, dtype=np.float32)
    figure = manifold_figure(np.zeros((5, 5, 1, 4, 4), np.float32), values, (2, 6), Ink(), "note")
    axes = figure.axes[0]
    assert axes.get_xlabel() == "latent dimension 3"
    assert axes.get_ylabel() == "latent dimension 7"
    marks = [-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5]
    assert [label.get_text() for label in axes.get_xticklabels()] == [signed(m, 1) for m in marks]
    box = axes.get_window_extent()
    sides = ((axes.get_xticks(), box.x0, box.x1), (axes.get_yticks(), box.y0, box.y1))
    for axis, (ticks, low, high) in enumerate(sides):
        points = axes.transData.transform([(t, t) for t in ticks])[:, axis]
        assert (np.diff(points) > 0).all()
        # The outermost tiles' centres are a tenth of the way in.
        at = low + (high - low) * (0.1 + 0.8 * (np.array(marks) + 1.64) / 3.28)
        np.testing.assert_allclose(points, at, atol=1.5)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 64, 64), (3, 9, 31), (1, 1, 1), (1, 1, 700), (2, 300, 2)])
def test_any_image_size_gives_a_page_sized_picture(shape):
    rng = np.random.default_rng(0)
    for n in (1, 40):
        images = rng.random((n, 40, *shape)).astype(np.float32)
        figure = manifold_figure(images, np.linspace(-1, 1, 40, dtype=np.float32), (0, 1), Ink(), "note")
        width, height = figure.get_size_inches()
        assert width < 13
        assert height < 13


def test_missing_images_stay_white():
    images = [np.zeros((n, 1, 4, 4), np.uint8) for n in (3, 1)]
    picture = render(labelled_rows(images, ["three", "one"], Ink(), "Images"))
    black = (picture == 0).all(axis=-1)
    # Four black tiles of 400 x 400 dots, and some letters.
    assert 4 * 400**2 < black.sum() < 4.2 * 400**2


def test_names_are_cut_and_never_typeset(images):
    names = [r"$\frac{$", "_", "<script>alert('a very long name')</script>", "new\nline"]
    figure = labelled_rows([images] * 4, names, Ink(), "Images")
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [r"$\frac{$", "_", "<script>alert('a very...", "new line"]
    render(figure)  # a formula would raise


def test_other_figures_of_images_hold_what_they_are_given(images):
    originals = (images * 255).astype(np.uint8)
    steps = np.random.default_rng(1).random((6, 4, 1, 7, 5)).astype(np.float32)
    values = np.array([-3, 0, 1, 3], np.float32)
    figures = {
        "reconstruction": reconstruction_pairs(originals, images, 4, Ink(), "note"),
        "original": interpolation_rows(originals, steps, originals, Ink(), "note"),
        "dimension 4": traversal_rows(steps, [3, 1, 0, 2, 5, 4], values, Ink(), "note"),
    }
    for label, figure in figures.items():
        axes = figure.axes[0]
        labels = [t.get_text() for t in (*axes.get_xticklabels(), *axes.get_yticklabels())]
        assert label in labels
    values_shown = [t.get_text() for t in figures["dimension 4"].axes[0].get_xticklabels()]
    assert values_shown == ["\N{MINUS SIGN}3.0", "0.0", "1.0", "3.0"]


def test_zero_has_no_sign():
    assert signed(-0.001) == "0.00"
    assert signed(-1.5, 1) == "\N{MINUS SIGN}1.5"
