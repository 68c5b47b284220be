"""Runs of different settings as lines: over their epochs, and through their settings to what they reached."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator

from vae_experiments.figures.comparison import off_the_scale
from vae_experiments.figures.lineup import (
    Colouring,
    Floats,
    Lineup,
    Scale,
    clean,
    in_view,
    lightening,
    log_locator,
    plain,
)
from vae_experiments.figures.style import CLASSES, SUBTLE, headline, shown, styled

NAMED = 10  # settings whose lines are named at their ends
BEST_SHARE = 0.9  # of the values after the first epoch that an axis shows at least


@styled
def learning_curves(lineup: Lineup, curves: Sequence[Floats], metric: str, *, higher: bool) -> Figure:
    """A metric by epoch for every run: repeats in one colour, few settings named, many by a setting's value.

    Args:
        lineup: N runs.
        curves: of each run [its epochs]; NaN where there is no value.
        metric: its name, with its unit.
        higher: whether higher is better.

    Raises:
        ValueError: no run has a value.
    """
    present = np.array([bool(np.isfinite(curve).any()) for curve in curves])
    if not present.any():
        raise ValueError("no run has an epoch yet")
    groups = lineup.groups(present)
    named = len(groups) <= NAMED
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.add_subplot()
    colouring = None
    if len(lineup.scales) == 1 or (not named and lineup.scales):
        colouring = Colouring.by(lineup.scales[0])
    ends: list[tuple[float, str, object]] = []
    longest = max(len(curve) for curve in curves)
    for number, rows in enumerate(groups):
        if colouring is not None:
            colour: object = tuple(colouring.colours[rows[0]])
        else:
            colour = CLASSES[number % len(CLASSES)] if named else SUBTLE
        for row in rows:
            curve = curves[row]
            epochs = np.arange(1, len(curve) + 1)
            style = "-" if lineup.finished[row] else (0, (3, 2))
            width = 1.2 if named else 0.8
            axes.plot(epochs, curve, color=colour, linewidth=width, linestyle=style, alpha=0.9 if named else 0.7)
            if not lineup.finished[row] or len(curve) == 1:
                last = np.flatnonzero(np.isfinite(curve))[-1]
                axes.plot(epochs[last], curve[last], marker="o", markersize=3, color=colour)
        lasts = [curves[row][np.isfinite(curves[row])][-1] for row in rows]
        ends.append((float(np.mean(lasts)), lineup.labels[rows[0]], colour))
    axes.set_xlabel("epoch")
    axes.set_ylabel(metric)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10, min_n_ticks=1))
    axes.set_xlim(0.9 if longest > 1 else 0.5, longest + (0.02 * longest if longest > 1 else 0.5))
    clean(axes)
    hidden = _limit(axes, lineup, curves, higher)
    if named:
        _name_ends(axes, ends)
    elif colouring is not None:
        colouring.key(axes, lines=True)
    parts = ["Lines of one colour differ by their seed."] if named and any(len(rows) > 1 for rows in groups) else []
    parts += ["Dashed, ending in a point: not finished."] if not lineup.finished[present].all() else []
    parts += ["The worst values, as at the start, are off the scale."] if hidden else []
    headline(axes, "Learning curves", " ".join(parts), width=104)
    return figure


def _limit(axes: Axes, lineup: Lineup, curves: Sequence[Floats], higher: bool) -> bool:
    """Shows every run's best value and most of the rest, not the start that flattens them; whether some are hidden."""
    finite = [curve[np.isfinite(curve)] for curve in curves]
    values = np.concatenate(finite)
    best = np.array([np.nan if len(curve) == 0 else curve.max() if higher else curve.min() for curve in finite])
    best = best[in_view(lineup, best, higher=higher)]
    later = np.concatenate([curve[1:] for curve in finite])
    worst = np.quantile(later if len(later) else values, 1 - BEST_SHARE if higher else BEST_SHARE)
    top = values.max() if higher else values.min()
    edge = min(worst, best.min()) if higher else max(worst, best.max())
    span = max(abs(top - edge), 1e-3 * abs(top), 1e-9)
    farthest = values.min() if higher else values.max()
    if abs(farthest - top) <= 1.5 * span:
        return False
    low, high = sorted((top + np.sign(top - edge) * 0.05 * span, edge - np.sign(top - edge) * 0.15 * span))
    if low < high:
        axes.set_ylim(low, high)
    return bool(low < high)


def _name_ends(axes: Axes, ends: Sequence[tuple[float, str, object]]) -> None:
    """Names to the right of the axes, at the height where their lines end, moved apart where they would overlap."""
    bottom, top = axes.get_ylim()
    room = 0.05 * (top - bottom)
    ordered = sorted(
        ((h, label if bottom <= h <= top else f"{label} (off the scale)", c) for h, label, c in ends),
        key=lambda end: end[0],
    )
    heights = np.clip([height for height, _, _ in ordered], bottom, top)
    for _ in range(200):
        close = np.diff(heights) < room * 0.999
        if not close.any():
            break
        for i in np.flatnonzero(close):
            middle = (heights[i] + heights[i + 1]) / 2
            heights[i], heights[i + 1] = middle - room / 2, middle + room / 2
    for height, (_, label, colour) in zip(heights, ordered, strict=True):
        axes.annotate(
            shown(label, 36), (1, height), xytext=(4, 0), xycoords=("axes fraction", "data"),
            textcoords="offset points", va="center", fontsize=6.5, color=colour, annotation_clip=False,
        )  # fmt: skip


@styled
def parallel_coordinates(lineup: Lineup, values: Floats, metric: str, *, higher: bool) -> Figure:
    """Each run as a line through its settings to the metric, the best ones on top; grey where it has no value.

    Args:
        lineup: N runs.
        values: [N], NaN for a run that has none.
        metric: its name, with its unit.
        higher: whether higher is better.

    Raises:
        ValueError: no value is finite, or no setting varied.
    """
    drawn = in_view(lineup, values, higher=higher)
    if not drawn.any() or not lineup.scales:
        raise ValueError("there is nothing to draw")
    scales = lineup.scales
    figure = Figure(figsize=(max(5.0, 1.7 * len(scales) + 2.2), 3.9), layout="constrained")
    axes = figure.add_subplot()
    heights = np.array([0.04 + 0.92 * scale.fractions for scale in scales]).T  # [N, settings]
    goal = np.full(len(values), np.nan)
    low, high = float(values[drawn].min()), float(values[drawn].max())
    span = max(high - low, 1e-12)
    goal[drawn] = 0.04 + 0.92 * (values[drawn] - low) / span if high > low else 0.5
    colours = lightening(np.nan_to_num((goal - 0.04) / 0.92 if higher else (0.96 - goal) / 0.92))
    badness = np.where(drawn, -values if higher else values, np.inf)
    order = np.argsort(-badness, kind="stable").tolist()
    threads = [_thread([*heights[row], *([goal[row]] if drawn[row] else [])]) for row in order]
    edges = np.where(drawn[:, None], colours, (0.73, 0.73, 0.73, 1.0))[order]
    widths = np.where(drawn, 1.3, 0.8)[order]
    axes.add_collection(
        PathCollection(threads, facecolors="none", edgecolors=edges, linewidths=widths, alpha=0.8), autolim=False
    )
    for at, scale in enumerate(scales):
        _upright(axes, at, scale.title)
        marks = scale.ticks or _some_ticks(scale)
        where = np.array([position for position, _ in marks])
        for height, (_, label) in zip(_fractions_of(scale, where), marks, strict=True):
            _mark(axes, at, 0.04 + 0.92 * height, label)
    _upright(axes, len(scales), metric.split(",")[0])
    for value in MaxNLocator(nbins=6).tick_values(low, high):
        if low <= value <= high and high > low:
            _mark(
                axes,
                len(scales),
                0.04 + 0.92 * (value - low) / span,
                plain(value),
                right=True,
            )
    if high == low:
        _mark(axes, len(scales), 0.5, f"{low:.2f}".replace("-", "\N{MINUS SIGN}"), right=True)
    axes.set_xlim(-0.35, len(scales) + 0.35)
    axes.set_ylim(-0.06, 1.08)
    axes.axis("off")
    parts = [
        f"{metric}: {'higher' if higher else 'lower'} is better, light is best.".replace(" (higher is better)", "")
    ]
    parts += ["Grey: no value yet, or none that is finite."] if not np.isfinite(values).all() else []
    parts += [off_the_scale(lineup, values, drawn)]
    headline(axes, "From settings to results", " ".join(part for part in parts if part), width=100)
    return figure


def _thread(heights: Sequence[float]) -> Path:
    """A smooth line, level where it crosses an axis."""
    points: list[tuple[float, float]] = [(0.0, heights[0])]
    codes = [int(Path.MOVETO)]
    for at, (start, end) in enumerate(pairwise(heights)):
        points += [(at + 0.45, start), (at + 0.55, end), (at + 1.0, end)]
        codes += [int(Path.CURVE4)] * 3
    return Path(points, codes)


def _upright(axes: Axes, at: int, title: str) -> None:
    axes.plot([at, at], [0, 1], color="#333333", linewidth=0.8, zorder=3)
    axes.text(at, 1.03, shown(title), ha="center", va="bottom", fontsize=7.5)


def _mark(axes: Axes, at: int, height: float, label: str, *, right: bool = False) -> None:
    axes.plot([at - 0.015, at + 0.015], [height, height], color="#333333", linewidth=0.8, zorder=3)
    side = 1 if right else -1
    axes.annotate(
        label, (at, height), xytext=(5 * side, 0), textcoords="offset points", ha="left" if right else "right",
        va="center", fontsize=6.5, zorder=4,
        path_effects=[patheffects.withStroke(linewidth=2.5, foreground="white")],
    )  # fmt: skip


def _some_ticks(scale: Scale) -> list[tuple[float, str]]:
    """Round values within a scale of many."""
    low, high = scale.distinct[0], scale.distinct[-1]
    locator = log_locator([low, high]) if scale.log else MaxNLocator(nbins=6)
    return [(float(v), plain(v)) for v in locator.tick_values(low, high) if low <= v <= high]


def _fractions_of(scale: Scale, at: Floats) -> Floats:
    """Where values lie between the least and the greatest of a scale."""
    of, values = (np.log(scale.positions), np.log(at)) if scale.log else (scale.positions, at)
    low, high = of.min(), of.max()
    return np.full(len(values), 0.5) if high == low else (values - low) / (high - low)
