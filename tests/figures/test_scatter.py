import numpy as np
import pytest
from matplotlib.collections import PathCollection

from vae_experiments.figures.scatter import Points, latent_scatter
from vae_experiments.figures.style import class_colours, render

AXES = ("latent dimension 1", "latent dimension 2")


def _points(labels, names, dims=2, **more):
    rng = np.random.default_rng(0)
    positions = rng.standard_normal((len(labels), dims)).astype(np.float32)
    return Points(positions, np.array(labels, np.int64), names, AXES[:dims], **more)


def _drawn(figure):
    return [c for c in figure.axes[0].collections if isinstance(c, PathCollection)]


def test_each_point_has_its_class_colour_and_unlabelled_ones_are_left_out():
    points = _points([0, 1, 2, 11] * 5, {0: "a", 1: "b", 2: "c"})
    (dots,) = _drawn(latent_scatter(points, "seed"))
    expected = {
        (*position.tolist(), *class_colours("seed", 3)[label][:3])
        for position, label in zip(points.positions, points.labels, strict=True)
        if label != 11
    }
    seen = np.concatenate([dots.get_offsets(), dots.get_facecolors()[:, :3]], axis=1)
    assert {tuple(row) for row in seen.tolist()} == expected


def test_unlabelled_points_are_grey_beneath_and_in_the_legend():
    points = _points([0, 1, 11, 11], {0: "a", 1: "b"})
    figure = latent_scatter(points, "default", unlabelled=True)
    beneath, above = _drawn(figure)
    assert len(beneath.get_offsets()) == len(above.get_offsets()) == 2
    assert np.ptp(beneath.get_facecolors()[0, :3]) == 0
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["unlabelled"]


def test_a_class_keeps_its_colour_when_others_are_absent():
    names = {0: "a", 5: "b", 9: "c"}
    (dots,) = _drawn(latent_scatter(_points([9, 9], names), "default"))
    np.testing.assert_allclose(dots.get_facecolors()[0, :3], class_colours("default", 3)[2][:3])


def test_the_colour_bar_and_the_plot_name_the_classes():
    figure = latent_scatter(_points([3, 4] * 20, {3: "$x$", 4: "_four"}), "default")
    (axes,) = figure.axes
    (bar,) = axes.child_axes
    assert [label.get_text() for label in bar.get_yticklabels()] == ["$x$", "_four"]
    assert {text.get_text() for text in axes.texts} >= {"$x$", "_four"}
    assert (axes.get_xlabel(), axes.get_ylabel()) == AXES


def test_names_of_classes_at_the_same_place_are_moved_apart():
    points = Points(np.zeros((10, 2), np.float32), np.arange(10), {i: f"class {i}" for i in range(10)}, AXES)
    axes = latent_scatter(points, "default").axes[0]
    heights = sorted(text.get_position()[1] for text in axes.texts if text.get_text().startswith("class "))
    assert len(heights) == 10
    assert np.diff(heights).min() > 0


def test_a_thousand_classes_are_drawn_with_a_few_names():
    names = {i if i < 11 else i + 1: f"folder_{i}" for i in range(1000)}
    figure = latent_scatter(_points(list(names) * 2, names), "default")
    (axes,) = figure.axes
    (bar,) = axes.child_axes
    assert len(bar.get_yticklabels()) == 11
    assert "1000" in bar.get_ylabel()
    assert not [text for text in axes.texts if text.get_text().startswith("folder")]
    render(figure)


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([11] * 9, {}),  # no labels at all
        ([11] * 9, {0: "a", 1: "b"}),  # none of the images drawn has one
        ([0] * 9, {0: "only"}),
        ([0] * 8 + [1], {0: "many", 1: "single"}),
        ([0], {0: "alone"}),
        (list(range(11)) * 2, {i: str(i) for i in range(11)}),
        ([12, 13] * 500, {i: str(i) for i in range(40) if i != 11}),
    ],
)
def test_any_labels_can_be_drawn(dims, labels, names):
    for unlabelled in (False, True):
        render(latent_scatter(_points(labels, names, dims, frame=1.6), "default", unlabelled=unlabelled))


def test_far_outliers_do_not_blow_up_the_plot_and_are_counted():
    points = _points([0, 1] * 500, {0: "a", 1: "b"})
    points.positions[3] = [1e6, 0]
    figure = latent_scatter(points, "default", note="Note.")
    axes = figure.axes[0]
    assert axes.get_xlim()[1] < 20
    assert any("Far outliers outside the plot: 1." in text.get_text() for text in axes.texts)


def test_codes_that_are_not_finite_are_left_out_and_an_error_if_all_are():
    points = _points([0, 1] * 5, {0: "a", 1: "b"})
    points.positions[0, 0] = np.nan
    points.positions[1, 1] = np.inf
    (dots,) = _drawn(latent_scatter(points, "default"))
    assert len(dots.get_offsets()) == 8
    points.positions[:] = np.nan
    with pytest.raises(ValueError, match="no code is finite"):
        latent_scatter(points, "default")


def test_one_latent_dimension_is_drawn_as_a_histogram_per_class():
    figure = latent_scatter(_points([0, 1, 11] * 30, {0: "a", 1: "b"}, dims=1), "default", unlabelled=True)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["unlabelled", "b", "a"]  # from the bottom up
