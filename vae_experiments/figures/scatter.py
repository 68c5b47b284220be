"""Codes of images as a scatter plot, coloured by class."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from vae_experiments.figures.style import (
    CLASSES,
    SUBTLE,
    UNLABELLED_GREY,
    class_colours,
    headline,
    shown,
    styled,
)

NAMED = 20  # classes with a name of their own in the plot; more would cover the points
TICKS = 11  # names beside the colour bar of more classes than that
STRIP_BINS = 60


@dataclass(frozen=True)
class Points:
    """What a scatter plot shows.

    Args:
        positions: [N, 2], or [N, 1] for one latent dimension.
        labels: [N]; one that is not in `class_names` means unlabelled.
        class_names: label to name.
        axis_labels: what the positions are, one for each column.
        frame: half-width of a dashed square around the origin, the manifold's range; None draws none.
    """

    positions: NDArray[np.float32]
    labels: NDArray[np.int64]
    class_names: Mapping[int, str]
    axis_labels: tuple[str, ...]
    frame: float | None = None


@styled
def latent_scatter(points: Points, palette: str, note: str = "", unlabelled: bool = False) -> Figure:
    """Codes by class with a colour bar and the classes' names among the points.

    Without `unlabelled` only labelled points are drawn, unless there are none. With it the unlabelled
    ones are drawn too, in grey and beneath, and a legend says so.

    Raises:
        ValueError: no position is finite.
    """
    finite = np.isfinite(points.positions).all(axis=1)
    if not finite.any():
        raise ValueError("no code is finite")
    positions, labels = points.positions[finite], points.labels[finite]
    classes = sorted(points.class_names)
    known = np.isin(labels, classes)
    # A point's rank among the classes; they keep their colours whichever of them are present.
    ranks = np.searchsorted(classes, labels[known])
    colours = class_colours(palette, len(classes))
    present = np.unique(ranks).tolist()

    names = [shown(points.class_names[classes[rank]]) for rank in present]
    width = 5.9 + 0.055 * max(map(len, names), default=0)  # inches; room for the names beside the colour bar
    figure = Figure(figsize=(width, 5.6), layout="constrained")
    axes = figure.add_subplot()
    if positions.shape[1] == 1:
        _strips(axes, positions[:, 0], known, ranks, colours, points, unlabelled)
        headline(axes, _title(unlabelled), note)
        return figure

    size = float(np.clip(24000 / len(positions), 4, 30))
    if unlabelled or not known.any():
        legend = unlabelled and known.any()
        colour = UNLABELLED_GREY if legend else CLASSES[1]
        x, y = positions[~known].T
        axes.scatter(x, y, s=size, linewidths=0, alpha=0.7, color=colour, label="unlabelled")
        if legend:
            axes.legend(loc="upper right", markerscale=2, handletextpad=0.2)
    # In a fixed random order, so that no class hides another only for being drawn later.
    order = np.random.default_rng(0).permutation(len(ranks))
    x, y = positions[known][order].T
    axes.scatter(x, y, s=size, linewidths=0, alpha=0.8, color=colours[ranks[order]])
    drawn = positions if unlabelled or not known.any() else positions[known]
    outside = _limits(axes, drawn, points.frame or 0.0)
    if points.frame is not None:
        _frame(axes, points.frame)
    if len(present) > 1:
        _colour_bar(figure, axes, colours[present], names)
        if len(present) <= NAMED:
            _names(axes, positions[known], ranks, present, names)
    axes.set_xlabel(points.axis_labels[0])
    axes.set_ylabel(points.axis_labels[1])
    hidden = f" Far outliers outside the plot: {outside}." if outside else ""
    headline(axes, _title(unlabelled), note + hidden, width=95)
    return figure


def _title(unlabelled: bool) -> str:
    return "Latent space, with unlabelled images" if unlabelled else "Latent space"


def _limits(axes: Axes, positions: NDArray[np.float32], frame: float) -> int:
    """Sets equal scales over a square that holds the frame and that a few stray codes cannot blow up.

    Returns the number of points left outside.
    """
    low, high = np.percentile(positions, [0.5, 99.5], axis=0)
    slack = np.maximum(high - low, 1e-3)
    least, most = positions.min(axis=0), positions.max(axis=0)
    least, most = np.maximum(least, low - slack), np.minimum(most, high + slack)
    outside = int(((positions < least) | (positions > most)).any(axis=1).sum())
    if frame:
        least, most = np.minimum(least, -frame), np.maximum(most, frame)
    centre, half = (least + most) / 2, 0.53 * max(float((most - least).max()), 1e-3)
    axes.set_xlim(centre[0] - half, centre[0] + half)
    axes.set_ylim(centre[1] - half, centre[1] + half)
    axes.set_aspect("equal")
    return outside


def _frame(axes: Axes, half: float) -> None:
    square = Rectangle((-half, -half), 2 * half, 2 * half, fill=False, linestyle=(0, (4, 3)), linewidth=0.9)
    square.set_zorder(3)
    axes.add_patch(square)
    axes.annotate(
        "manifold", (half, -half), xytext=(-3, 3), textcoords="offset points", ha="right", va="bottom",
        fontsize=7, color="black", zorder=4, path_effects=_halo(), clip_on=True,
    )  # fmt: skip


def _colour_bar(figure: Figure, axes: Axes, colours: NDArray[np.float64], names: list[str]) -> None:
    count = len(names)
    mappable = ScalarMappable(BoundaryNorm(np.arange(count + 1) - 0.5, count), ListedColormap(colours))
    bar = figure.colorbar(mappable, cax=axes.inset_axes((1.015, 0, 0.03, 1)))
    every = np.arange(count) if count <= NAMED else np.unique(np.linspace(0, count - 1, TICKS).astype(int))
    bar.set_ticks(every.tolist(), labels=[names[i] for i in every])
    bar.ax.tick_params(length=0)
    bar.ax.minorticks_off()
    bar.set_label(f"class ({count})" if count > NAMED else "class")


def _names(
    axes: Axes, positions: NDArray[np.float32], ranks: NDArray[np.int64], present: list[int], names: list[str]
) -> None:
    """Each class's name where its points are densest, moved apart where two would overlap."""
    extent = np.array([axes.get_xlim(), axes.get_ylim()])
    spots = np.array([_densest(positions[ranks == rank], extent) for rank in present])
    scale = np.ptp(extent, axis=1)
    texts = [shown(name, 12) for name in names]
    # Room that a name takes, as a share of the plot: about 1.6 % of its width a letter, 4 % of its height.
    widths = np.array([0.012 + 0.016 * len(text) for text in texts])
    at = (spots - extent[:, 0]) / scale
    later = np.sign(np.subtract.outer(np.arange(len(at)), np.arange(len(at))))
    for _ in range(100):
        apart = at[:, None] - at[None]
        room = np.stack([(widths[:, None] + widths[None]) / 2, np.full((len(at), len(at)), 0.045)], axis=-1)
        overlap = (np.abs(apart) < room).all(axis=-1) & ~np.eye(len(at), dtype=bool)
        if not overlap.any():
            break
        # Of two names at the very same height, the later one moves up.
        up = np.where(apart[..., 1] == 0, later, np.sign(apart[..., 1]))
        at[:, 1] += 0.004 * (up * overlap).sum(axis=1)
    for (x, y), text in zip(at * scale + extent[:, 0], texts, strict=True):
        axes.text(
            x, y, text, ha="center", va="center", fontsize=10, fontweight="bold", zorder=5,
            path_effects=_halo(3), clip_on=True,
        )  # fmt: skip


def _densest(positions: NDArray[np.float32], extent: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centre of the fullest cell, with its neighbours, of a 24 x 24 grid over the plot."""
    counts, xs, ys = np.histogram2d(positions[:, 0], positions[:, 1], bins=24, range=extent.tolist())
    padded = np.pad(counts, 1)
    near = sum(padded[i : i + 24, j : j + 24] for i in range(3) for j in range(3))
    i, j = np.unravel_index(np.argmax(near + 0.5 * counts), counts.shape)
    return np.array([(xs[i] + xs[i + 1]) / 2, (ys[j] + ys[j + 1]) / 2])


def _halo(width: float = 1.8) -> list[patheffects.AbstractPathEffect]:
    return [patheffects.withStroke(linewidth=width, foreground="white")]


def _strips(
    axes: Axes,
    codes: NDArray[np.float32],
    known: NDArray[np.bool_],
    ranks: NDArray[np.int64],
    colours: NDArray[np.float64],
    points: Points,
    unlabelled: bool,
) -> None:
    """One latent dimension: a histogram per class, one above the other."""
    classes = sorted(points.class_names)
    groups = [
        (codes[known][ranks == rank], to_hex(colours[rank]), shown(points.class_names[classes[rank]]))
        for rank in np.unique(ranks)
    ]
    if len(groups) > NAMED:
        groups = [(codes[known], SUBTLE, f"all {len(groups)} classes")]
    if unlabelled or not groups:
        groups.append((codes[~known], UNLABELLED_GREY, "unlabelled"))
    groups.reverse()  # the first class on top, as in a list
    low, high = np.percentile(codes, [0.1, 99.9])
    edges = np.linspace(low, max(high, low + 1e-3), STRIP_BINS + 1)
    for row, (values, colour, _) in enumerate(groups):
        heights = np.histogram(values, edges)[0].astype(float)
        heights *= 0.9 / max(heights.max(), 1)
        axes.stairs(heights + row, edges, baseline=row, fill=True, color=colour)
        axes.stairs(heights + row, edges, baseline=row, color="black", linewidth=0.4)
    axes.set_yticks(range(len(groups)), [name for _, _, name in groups])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.05, len(groups))
    axes.set_xlim(edges[0], edges[-1])
    axes.set_xlabel(points.axis_labels[0])
    axes.set_ylabel("class; images per bin, each scaled to its own peak")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
