import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vae_experiments.figures.comparison import frontier, metric_by_parameter, rate_distortion
from vae_experiments.figures.lineup import Lineup, Scale, in_view


def lineup(repeats: list[int] | None = None, finished: list[bool] | None = None, **parameters: list[object]) -> Lineup:
    count = len(next(iter(parameters.values()))) if parameters else len(repeats or [])
    numbers = np.array(repeats if repeats is not None else range(count))
    labels = [f"setting {number}" for number in numbers]
    return Lineup(parameters, numbers, labels, np.array(finished or [True] * count))


def texts(figure: Figure) -> str:
    return " ".join(text.get_text() for axes in figure.axes for text in axes.texts)


def error_bars(axes: Axes) -> list[tuple[float, float, float]]:
    """x, lower and upper end of each bar with a height."""
    segments = [s for container in axes.containers for bars in container[2] for s in bars.get_segments()]
    return sorted((float(s[0][0]), float(s[0][1]), float(s[1][1])) for s in segments)


@pytest.mark.parametrize(
    ("values", "log", "categorical", "ticks"),
    [
        ([2, 4, 8, 16], True, False, ["2", "4", "8", "16"]),
        ([0.0, 0.5, 1.0], False, False, ["0", "0.5", "1"]),
        ([1e-5, 1e-2, 1e-4], True, False, ["1e-05", "0.0001", "0.01"]),
        ([1, 2, 3], False, False, ["1", "2", "3"]),
        (["mlp", "conv", "mlp"], False, True, ["conv", "mlp"]),
        ([1.0, "LinearWarmup", None], False, True, ["none", "1", "LinearWarmup"]),
        ([True, False], False, True, ["False", "True"]),
        (list(np.linspace(1, 2, 20)), False, False, []),
    ],
)
def test_the_scale_fits_the_values(values: list[object], log: bool, categorical: bool, ticks: list[str]) -> None:
    scale = Scale.of("x", values)
    assert (scale.log, scale.categorical) == (log, categorical)
    assert [label for _, label in scale.ticks] == ticks


def test_a_metric_is_drawn_with_mean_and_sample_deviation_over_seeds() -> None:
    values = np.array([-10.0, -14.0, -5.0, -6.0, -7.0])
    figure = metric_by_parameter(
        lineup([0, 0, 1, 1, 1], latent_dim=[2, 2, 8, 8, 8]), values, "val/elbo", higher=True
    )  # fmt: skip
    (low, high) = error_bars(figure.axes[0])
    assert low == pytest.approx((2, -12 - np.std([-10, -14], ddof=1), -12 + np.std([-10, -14], ddof=1)))
    assert high == pytest.approx((8, -7, -5))
    assert figure.axes[0].get_xlabel() == "latent_dim"
    assert "standard deviation over seeds" in texts(figure)


def test_two_settings_give_a_line_for_each_value_of_the_other() -> None:
    grid = lineup(latent_dim=[2, 2, 8, 8], kl_weight=[1.0, 4.0, 1.0, 4.0])
    figure = metric_by_parameter(grid, np.array([-10.0, -20.0, -5.0, -8.0]), "val/elbo", higher=True)
    first, second = figure.axes
    assert sorted(tuple(line.get_ydata()) for line in first.lines if len(line.get_xdata()) == 2) == [
        (-20, -8),
        (-10, -5),
    ]
    assert sorted(tuple(line.get_ydata()) for line in second.lines if len(line.get_xdata()) == 2) == [
        (-10, -20),
        (-5, -8),
    ]
    legend = first.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["kl_weight:", "1", "4"]


def test_unfinished_runs_are_hollow_and_count_in_no_mean() -> None:
    runs = lineup([0, 0, 1, 1], [True, False, True, True], latent_dim=[2, 2, 8, 8])
    figure = metric_by_parameter(runs, np.array([-10.0, -11.0, -6.0, -4.0]), "val/elbo", higher=True)
    (line,) = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 2 and line.get_linestyle() == "-"]
    assert list(line.get_ydata()) == [-10, -5]
    assert "Hollow: not finished." in texts(figure)


def test_what_is_far_off_is_said_and_not_drawn() -> None:
    runs = lineup(latent_dim=[2, 4, 8, 16, 32])
    values = np.array([-10.0, -9.0, -8.0, -3.2e7, np.nan])
    assert in_view(runs, values, higher=True).tolist() == [True, True, True, False, False]
    figure = metric_by_parameter(runs, values, "val/elbo", higher=True)
    assert figure.axes[0].get_ylim()[0] > -20
    assert "Off the scale: setting 3 (-3.2e+07)." in texts(figure).replace("\n", " ")


def test_an_epoch_of_an_unfinished_run_does_not_blow_the_picture_up() -> None:
    runs = lineup(finished=[True, True, False, False], latent_dim=[2, 4, 8, 16])
    assert in_view(runs, np.array([-10.0, -9.0, -9.2, -13.0]), higher=True).tolist() == [True, True, True, False]


def test_the_frontier_holds_what_no_other_beats_in_both() -> None:
    points = np.array([[1.0, 9.0], [2.0, 5.0], [3.0, 6.0], [4.0, 1.0], [4.0, 2.0], [1.0, 9.5]])
    assert frontier(points) == [0, 1, 3]
    for row, (x, y) in enumerate(points):
        beaten = any((points[o] <= (x, y)).all() and (points[o] < (x, y)).any() for o in range(len(points)))
        assert (row in frontier(points)) is not beaten


def test_repeats_meet_in_their_mean_in_the_rate_distortion_picture() -> None:
    figure = rate_distortion(
        lineup([0, 0, 1], latent_dim=[2, 2, 8]), np.array([3.0, 5.0, 9.0]), np.array([150.0, 152.0, 120.0])
    )  # fmt: skip
    axes = figure.axes[0]
    drawn = np.concatenate([np.asarray(c.get_offsets()) for c in axes.collections])
    for point in ([4, 151], [9, 120], [3, 150], [5, 152]):
        assert (np.abs(drawn - point).max(axis=1) < 1e-9).any()
    assert {"setting 0", "setting 1"} <= {text.get_text() for text in axes.texts}


@pytest.mark.parametrize("count", [1, 2, 50])
def test_many_and_few_runs_are_drawn(count: int) -> None:
    rng = np.random.default_rng(0)
    runs = lineup(lr=list(10 ** rng.uniform(-5, -2, count)), kind=[f"k{i % 3}" for i in range(count)])
    kl, reconstruction = rng.uniform(1, 20, count), rng.uniform(80, 150, count)
    for figure in (
        rate_distortion(runs, kl, reconstruction),
        metric_by_parameter(runs, -kl - reconstruction, "val/elbo", higher=True),
    ):
        figure.canvas.draw()
        assert all("mathdefault" not in label.get_text() for axes in figure.axes for label in axes.get_xticklabels())


def test_without_a_finite_value_there_is_nothing_to_draw() -> None:
    nothing = np.full(2, np.nan)
    with pytest.raises(ValueError, match="nothing to draw"):
        metric_by_parameter(lineup(a=[1, 2]), nothing, "val/elbo", higher=True)
    with pytest.raises(ValueError, match="no run has both"):
        rate_distortion(lineup(a=[1, 2]), np.array([1.0, np.nan]), np.array([np.nan, 1.0]))
