"""The pictures of a comparison: rows into arrays, arrays into figures."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.figure import Figure

from vae_experiments.comparison.rows import FINISHED, KL, RECONSTRUCTION, Compared, higher_is_better, ranked, setting
from vae_experiments.figures.comparison import metric_by_parameter, rate_distortion
from vae_experiments.figures.comparison_curves import learning_curves, parallel_coordinates
from vae_experiments.figures.lineup import Floats, Lineup
from vae_experiments.runs.plan import short_names

CURVES = 60  # runs in one picture of curves, the best ones


def lineup(rows: Sequence[Compared], keys: Sequence[str]) -> Lineup:
    """The rows as pictures see them; only settings in which they differ.

    Args:
        rows: in any order.
        keys: what varied, by full names, without the seed.
    """
    titles = short_names(keys)
    told_apart = [key for key in keys if len({setting(row, [key]) for row in rows}) > 1]
    numbers: dict[str, int] = {}
    repeats = [numbers.setdefault(setting(row, keys), len(numbers)) for row in rows]
    if told_apart:
        labels = [", ".join(f"{titles[key]} {_text(row.params.get(key))}" for key in told_apart) for row in rows]
    else:
        labels = [row.name for row in rows]
    return Lineup(
        {titles[key]: [_plain(row.params.get(key)) for row in rows] for key in told_apart},
        np.array(repeats, dtype=np.int64),
        labels,
        np.array([row.status == FINISHED for row in rows]),
    )


def draw(rows: Sequence[Compared], keys: Sequence[str], metric: str) -> dict[str, Callable[[], Figure]]:
    """A name and a way to draw it, of every picture that says something about these rows.

    Args:
        rows: in any order.
        keys: what varied, by full names, without the seed.
        metric: what "best" is of.
    """
    rows = ranked(rows, metric)
    whole = lineup(rows, keys)
    values = _values(rows, metric)
    higher = higher_is_better(metric)
    title = titled(metric)
    pictures: dict[str, Callable[[], Figure]] = {}
    if whole.parameters and np.isfinite(values).any():
        pictures["by_parameter"] = lambda: metric_by_parameter(whole, values, title, higher=higher)
    kl, reconstruction = _values(rows, KL), _values(rows, RECONSTRUCTION)
    if (np.isfinite(kl) & np.isfinite(reconstruction)).any():
        pictures["rate_distortion"] = lambda: rate_distortion(whole, kl, reconstruction)
    begun = [row for row in rows if any(metric in epoch for epoch in row.history)][:CURVES]
    if begun:
        curves = [np.array([epoch.get(metric, np.nan) for epoch in row.history], float) for row in begun]
        pictures["learning_curves"] = lambda: learning_curves(lineup(begun, keys), curves, title, higher=higher)
    if len(whole.parameters) > 1 and np.isfinite(values).any():
        pictures["parallel_coordinates"] = lambda: parallel_coordinates(whole, values, title, higher=higher)
    return pictures


def titled(metric: str) -> str:
    """A metric with its unit, where it is one that we know."""
    known = {"elbo", "reconstruction", "kl"}
    return f"{metric}, nats per image" if metric.rpartition("/")[2] in known else metric


def _values(rows: Sequence[Compared], metric: str) -> Floats:
    found = [row.value(metric) for row in rows]
    return np.array([np.nan if value is None else value for value in found], float)


def _plain(value: object) -> object:
    """A value that can stand on an axis."""
    return value if value is None or isinstance(value, bool | int | float) else _text(value)


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return "none" if value is None else str(value)
