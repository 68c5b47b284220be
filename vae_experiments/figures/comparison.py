"""What runs of different settings reached: a metric against each setting, and reconstruction against KL."""

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from vae_experiments.figures.lineup import FEW, Colouring, Floats, Lineup, Scale, clean, heading, in_view
from vae_experiments.figures.style import SUBTLE, headline, shown, styled

NAMED = 14  # settings with a label beside their point
MARKERS = "osD^vPX*"
PANELS = 9


@styled
def metric_by_parameter(lineup: Lineup, values: Floats, metric: str, *, higher: bool) -> Figure:
    """A metric against each setting: a point for every run, the mean of repeats, their standard deviation.

    With two settings a line per value of the other one; with more, a line through the best of each value.

    Args:
        lineup: N runs, with one setting at least.
        values: [N], NaN for a run that has none.
        metric: its name, with its unit.
        higher: whether higher is better.

    Raises:
        ValueError: no value is finite, or no setting varied.
    """
    drawn = in_view(lineup, values, higher=higher)
    if not drawn.any() or not lineup.scales:
        raise ValueError("there is nothing to draw")
    shown_scales = lineup.scales[:PANELS]
    columns = min(3 if len(shown_scales) > 4 else 2, len(shown_scales))
    rows = -(-len(shown_scales) // columns)
    figure = Figure(figsize=(0.4 + 3.6 * columns, 0.5 + 2.7 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, scale in zip(grid, shown_scales, strict=False):
        others = [other for other in lineup.scales if other is not scale]
        _by_parameter(axes, scale, others, lineup, values, drawn, higher=higher)
        axes.set_ylabel(metric)
    for axes in grid[len(shown_scales) :]:
        axes.set_visible(False)
    note = _parts_of_note(lineup, values, drawn, len(lineup.scales))
    headline(grid[0], "What each setting brings", note, width=50)
    return figure


def _parts_of_note(lineup: Lineup, values: Floats, drawn: NDArray[np.bool_], settings: int) -> str:
    parts = []
    repeated = any(len(rows) > 1 for rows in lineup.groups(drawn))
    if repeated:
        parts.append("Bars: mean and standard deviation over seeds.")
    if settings > 2:
        parts.append("Lines: the best run at each value.")
    if (drawn & ~lineup.finished).any():
        parts.append("Hollow: not finished.")
    return " ".join([*parts, off_the_scale(lineup, values, drawn)]).strip()


def off_the_scale(lineup: Lineup, values: Floats, drawn: NDArray[np.bool_]) -> str:
    """Says which values are too far off, or not finite; those that are missing are no values."""
    left_out = [
        f"{lineup.labels[row]} ({values[row]:.3g})" for row in np.flatnonzero(np.isfinite(values) & ~drawn).tolist()
    ]
    more = f" and {len(left_out) - 3} more" if len(left_out) > 3 else ""
    return f"Off the scale: {', '.join(left_out[:3])}{more}." if left_out else ""


def _by_parameter(
    axes: Axes,
    scale: Scale,
    others: list[Scale],
    lineup: Lineup,
    values: Floats,
    drawn: NDArray[np.bool_],
    *,
    higher: bool,
) -> None:
    other = others[0] if len(others) == 1 else None
    colouring = None if other is None else Colouring.by(other)
    colours = np.tile(np.array([[0.2, 0.2, 0.2, 1.0]]), (len(values), 1)) if colouring is None else colouring.colours
    x = scale.positions + (0.0 if other is None or not scale.categorical else 0.5 * other.fractions - 0.25)
    faces = np.where(lineup.finished[:, None], colours, 1.0)
    axes.scatter(
        x[drawn],
        values[drawn],
        s=9,
        c=faces[drawn],
        edgecolors=[to_hex(colour) for colour in colours[drawn]],
        linewidths=0.7,
        alpha=0.75,
    )
    if len(others) > 1:
        if len(scale.distinct) <= 2 * FEW:
            pick = np.max if higher else np.min
            best = [
                pick(values[drawn & (scale.positions == at)], initial=-np.inf if higher else np.inf)
                for at in scale.distinct
            ]
            at, height = np.array(scale.distinct), np.array(best)
            axes.plot(at[np.isfinite(height)], height[np.isfinite(height)], color=SUBTLE, linewidth=1.2)
    elif other is None or len(other.distinct) <= 2 * FEW:
        for at_other in [None] if other is None else other.distinct:
            line = drawn if other is None or at_other is None else drawn & (other.positions == at_other)
            _means(axes, scale, lineup, x, values, line, colours)
    scale.set_x(axes)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.margins(x=0.08, y=0.12)
    clean(axes)
    if colouring is not None:
        colouring.key(axes, lines=True)


def _means(
    axes: Axes, scale: Scale, lineup: Lineup, x: Floats, values: Floats, among: NDArray[np.bool_], colours: Floats
) -> None:
    """A line through the means over repeats, with bars of a standard deviation where there are some."""
    final = among & lineup.finished
    points = []
    for rows in lineup.groups(final if final.any() else among):
        deviation = float(values[rows].std(ddof=1)) if len(rows) > 1 else 0.0
        points.append((x[rows[0]], float(values[rows].mean()), deviation))
    if not points:
        return
    across, mean, deviation = np.array(sorted(points)).T
    colour = colours[np.flatnonzero(among)[0]]
    line = "none" if scale.categorical or len(across) > 2 * FEW else "-"
    axes.errorbar(
        across, mean, deviation if deviation.any() else None, color=colour, linestyle=line, linewidth=1.2, capsize=2.5,
        elinewidth=0.9, marker="_" if scale.categorical else None, markersize=9,
    )  # fmt: skip


@styled
def rate_distortion(lineup: Lineup, kl: Floats, reconstruction: Floats) -> Figure:
    """Reconstruction against KL: what is paid for the code, and what it buys.

    Points of repeats are joined to their mean. A dashed line links the settings that no other one beats in
    both; along a grey line the bound, -(reconstruction + KL), is the same.

    Args:
        lineup: N runs.
        kl: [N], nats per image; NaN for a run that has none.
        reconstruction: [N], likewise.

    Raises:
        ValueError: no run has both.
    """
    drawn = in_view(lineup, kl, higher=False) & in_view(lineup, reconstruction, higher=False)
    if not drawn.any():
        raise ValueError("no run has both a reconstruction and a KL")
    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    axes = figure.add_subplot()
    groups = lineup.groups(drawn)
    means = np.array([(kl[rows].mean(), reconstruction[rows].mean()) for rows in groups])
    first = lineup.scales[0] if lineup.scales else None
    second = lineup.scales[1] if len(lineup.scales) > 1 and len(lineup.scales[1].distinct) <= len(MARKERS) else None
    colouring = None if first is None else Colouring.by(first)
    colours = np.full((len(kl), 4), (0.2, 0.2, 0.2, 1.0)) if colouring is None else colouring.colours
    spokes = {int(row): mean for rows, mean in zip(groups, means, strict=True) for row in rows if len(rows) > 1}
    if spokes:
        each = np.array(list(spokes))
        ends = np.stack([kl[each], reconstruction[each]], axis=1)
        lines = [[tuple(end), tuple(mean)] for end, mean in zip(ends, spokes.values(), strict=True)]
        axes.add_collection(LineCollection(lines, colors=colours[each], linewidths=0.6, alpha=0.6))
        axes.scatter(ends[:, 0], ends[:, 1], s=4, c=colours[each], linewidths=0)
    firsts = np.array([rows[0] for rows in groups])
    final = np.array([lineup.finished[rows].all() for rows in groups])
    kinds = np.zeros(len(groups), int) if second is None else np.searchsorted(second.distinct, second.positions[firsts])
    for kind in np.unique(kinds):
        of = kinds == kind
        edges = colours[firsts[of]]
        faces = np.where(final[of, None], edges, 1.0)
        axes.scatter(
            means[of, 0], means[of, 1], s=30, marker=MARKERS[kind], c=faces,
            edgecolors=[to_hex(colour) for colour in edges], linewidths=1.0, zorder=3,
        )  # fmt: skip
    best = frontier(means)
    if len(best) > 1:
        axes.plot(*means[best].T, color=SUBTLE, linestyle=(0, (4, 3)), linewidth=0.9, zorder=1)
    axes.margins(0.1)
    _equal_bounds(axes)
    named = range(len(groups)) if len(groups) <= NAMED else best
    _names(axes, means, {i: lineup.labels[groups[i][0]] for i in list(named)[:NAMED]})
    axes.set_xlabel("KL, nats per image (rate)")
    axes.set_ylabel("reconstruction, nats per image (distortion)")
    clean(axes)
    _keys(axes, colouring, second)
    note = "Nearer the lower left is better. Dotted: equal elbo."
    note += " Dashed: settings that no other beats in both." if len(best) > 1 else ""
    hollow = "Hollow: not finished." if not lineup.finished[drawn].all() else ""
    far = off_the_scale(lineup, reconstruction, drawn)
    headline(axes, "Reconstruction against KL", " ".join(part for part in (note, hollow, far) if part), width=104)
    return figure


def frontier(points: Floats) -> list[int]:
    """Rows of points [N, 2] that no other point is at most equal to in both columns, by their first column."""
    kept: list[int] = []
    lowest = np.inf
    for row in np.lexsort((points[:, 1], points[:, 0])):
        if points[row, 1] < lowest:
            lowest = points[row, 1]
            kept.append(int(row))
    return kept


def _equal_bounds(axes: Axes) -> None:
    """Lines along which rate and distortion have the same sum, labelled with the bound there."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    sums = MaxNLocator(nbins=8).tick_values(left + bottom, right + top)
    for total in sums:
        axes.plot([left, right], [total - left, total - right], color="#cccccc", linestyle=":", linewidth=0.8, zorder=0)
        x, y = (left, total - left) if bottom <= total - left <= top else (total - top, top)
        if left <= x <= right and bottom <= y <= top:
            text = f"{-total:.5g}".replace("-", "\N{MINUS SIGN}")
            axes.annotate(
                text, (x, y), xytext=(2, -2), textcoords="offset points", fontsize=5.5, color="#999999", va="top",
            )  # fmt: skip
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)


def _names(axes: Axes, points: Floats, labels: dict[int, str]) -> None:
    """Labels beside their points, towards the middle, moved up where two would overlap."""
    figure = axes.figure
    dots = figure.dpi / 72
    height = 7.5 * dots
    at = {i: axes.transData.transform(points[i]) for i in labels}
    left, right = axes.bbox.intervalx
    placed: list[tuple[float, float, float]] = []
    for i in sorted(labels, key=lambda i: float(at[i][1])):
        x, y = at[i]
        width = 4.2 * dots * len(labels[i])
        before = x + width > right and x - width > left
        start, end = (x - width, x) if before else (x, x + width)
        for other_start, other_end, below in placed:
            if start < other_end and end > other_start and y < below + height:
                y = below + height
        placed.append((start, end, y))
        axes.annotate(
            shown(labels[i], 40), points[i], xytext=(-5 if before else 5, (y - at[i][1]) / dots - 2),
            textcoords="offset points", ha="right" if before else "left", fontsize=6, zorder=4,
            path_effects=[patheffects.withStroke(linewidth=1.6, foreground="white")],
        )  # fmt: skip


def _keys(axes: Axes, colouring: Colouring | None, second: Scale | None) -> None:
    if colouring is None:
        return
    marks: list[Line2D] = []
    if second is not None:
        labels = dict(second.ticks)
        marks = [heading(second.title)] + [
            Line2D([], [], color=SUBTLE, marker=MARKERS[i], linestyle="none", label=labels[at])
            for i, at in enumerate(second.distinct)
        ]
    colouring.key(axes, lines=False, more=marks)
