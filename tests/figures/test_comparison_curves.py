import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from vae_experiments.figures.comparison_curves import learning_curves, parallel_coordinates
from vae_experiments.figures.lineup import Lineup


def lineup(parameters: dict[str, list[object]], repeats: list[int] | None = None, unfinished: int = 0) -> Lineup:
    count = len(next(iter(parameters.values())))
    numbers = np.array(repeats or range(count))
    finished = np.arange(count) < count - unfinished
    return Lineup(parameters, numbers, [f"setting {number}" for number in numbers], finished)


def curve(end: float, epochs: int = 10) -> np.ndarray:
    return end - 50.0 / np.arange(1, epochs + 1) ** 2


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_every_run_is_a_curve_and_repeats_share_colour_and_name() -> None:
    curves = [curve(-100), curve(-102), curve(-150)]
    figure = learning_curves(lineup({"d": [2, 2, 8]}, [0, 0, 1]), curves, "val/elbo", higher=True)
    lines = figure.axes[0].lines
    assert [list(line.get_ydata()) for line in lines] == [list(values) for values in curves]
    assert list(lines[0].get_xdata()) == list(range(1, 11))
    assert lines[0].get_color() == lines[1].get_color() != lines[2].get_color()
    assert texts(figure).count("setting 0") == texts(figure).count("setting 1") == 1


def test_the_start_is_cut_when_it_would_flatten_the_rest_and_that_is_said() -> None:
    figure = learning_curves(lineup({"d": [2]}), [np.array([-3e7, -110, -105, -101])], "val/elbo", higher=True)
    low, high = figure.axes[0].get_ylim()
    assert -150 < low < -110
    assert high > -101
    assert any("off the scale" in text for text in texts(figure))
    losses = learning_curves(lineup({"d": [2]}), [np.array([3e7, 110, 105, 101])], "val/loss", higher=False)
    assert losses.axes[0].get_ylim()[1] < 150


def test_no_runs_best_value_is_cut() -> None:
    curves = [curve(-100), curve(-105), curve(-180, 3)]
    figure = learning_curves(lineup({"d": [2, 4, 8]}), curves, "val/elbo", higher=True)
    low, high = figure.axes[0].get_ylim()
    assert all(low < values.max() < high for values in curves)


def test_unfinished_runs_are_dashed_and_end_in_a_point() -> None:
    figure = learning_curves(lineup({"d": [2, 8]}, unfinished=1), [curve(-100), curve(-90, 1)], "val/elbo", higher=True)
    assert figure.axes[0].lines[-1].get_marker() == "o"
    assert any("not finished" in text for text in texts(figure))


def test_many_settings_are_told_apart_by_a_settings_value() -> None:
    count = 40
    figure = learning_curves(
        lineup({"lr": list(np.geomspace(1e-5, 1e-2, count))}), [curve(-100 - i) for i in range(count)], "x", higher=True
    )  # fmt: skip
    assert len(figure.axes) == 2  # with a colour bar
    assert not any(text.startswith("setting") for text in texts(figure))


def ends(figure: Figure) -> list[tuple[float, float]]:
    """Where each thread of the picture ends."""
    (threads,) = [c for c in figure.axes[0].collections if isinstance(c, PathCollection)]
    return [tuple(path.vertices[-1]) for path in threads.get_paths()]


def test_threads_end_at_the_metric_the_best_on_top_and_drawn_last() -> None:
    runs = lineup({"d": [2, 4, 8], "kind": ["a", "b", "a"]})
    for values, higher in ((np.array([-30.0, -10.0, -20.0]), True), (np.array([10.0, 30.0, 20.0]), False)):
        figure = parallel_coordinates(runs, values, "val/x", higher=higher)
        assert [x for x, _ in ends(figure)] == [2, 2, 2]
        heights = [y for _, y in ends(figure)]
        assert heights == sorted(heights, reverse=not higher)
        figure.canvas.draw()


def test_a_run_without_a_value_ends_at_its_last_setting() -> None:
    figure = parallel_coordinates(
        lineup({"d": [2, 4, 8], "k": [1, 2, 3]}), np.array([-30.0, np.nan, -20.0]), "val/elbo", higher=True
    )  # fmt: skip
    assert sorted(x for x, _ in ends(figure)) == [1, 2, 2]
    assert any("Grey: no value yet" in text for text in texts(figure))


def test_equal_values_are_drawn_too() -> None:
    parallel_coordinates(lineup({"d": [2, 2], "k": [1, 1]}), np.array([-5.0, -5.0]), "x", higher=True).canvas.draw()


def test_nothing_to_draw_is_an_error() -> None:
    with pytest.raises(ValueError, match="no run has an epoch"):
        learning_curves(lineup({"d": [2]}), [np.array([np.nan])], "x", higher=True)
    with pytest.raises(ValueError, match="nothing to draw"):
        parallel_coordinates(lineup({"d": [2]}), np.array([np.nan]), "x", higher=True)
