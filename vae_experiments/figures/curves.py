"""Loss curves over the epochs of a run."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from vae_experiments.figures.style import CLASSES, styled

NATS = "nats per image"
PANELS = {
    "loss": "Loss",
    "reconstruction": "Reconstruction",
    "kl": "KL divergence",
    "elbo": "ELBO (higher is better)",
}
# Told apart by line and marker as well as by colour.
CURVES = {
    "train": (CLASSES[2], "--", "o", "training"),
    "val": (CLASSES[9], "-", "s", "validation"),
}


@styled
def loss_curves(history: Sequence[Mapping[str, float]], unit: str = NATS) -> Figure:
    """Loss, its two parts and the bound at every epoch, training and validation.

    Args:
        history: one mapping per epoch: "epoch", and any of "train/..." and "val/..." of loss,
            reconstruction, kl and elbo. What is missing or not finite leaves a gap.
        unit: of the loss; its parts and the bound are always in nats per image.

    Raises:
        ValueError: nothing in `history` can be drawn.
    """
    panels = [key for key in PANELS if any(f"{part}/{key}" in row for row in history for part in CURVES)]
    if not panels:
        raise ValueError("the history holds no losses")
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.3 * rows + 0.35), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, key in zip(grid, panels, strict=False):
        _panel(axes, history, key, unit if key == "loss" else NATS)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(handles))
    figure.suptitle("Losses by epoch", x=0.01, ha="left", fontsize=9.5, fontweight="bold")
    return figure


def _panel(axes: Axes, history: Sequence[Mapping[str, float]], key: str, unit: str) -> None:
    epochs = np.array([row["epoch"] for row in history], dtype=float)
    drawn = []
    for part, (colour, line, marker, label) in CURVES.items():
        values = np.array([row.get(f"{part}/{key}", np.nan) for row in history], dtype=float)
        values[~np.isfinite(values)] = np.nan
        curve = axes.plot(epochs, values, color=colour, linestyle=line, linewidth=1.2, label=label)[0]
        if len(epochs) <= 40:  # more would run into each other
            curve.set(marker=marker, markersize=3)
        drawn.append(values)
    axes.set_title(PANELS[key], loc="left")
    axes.set_xlabel("epoch")
    axes.set_ylabel(unit)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    _leave_out_start(axes, np.array(drawn))


def _leave_out_start(axes: Axes, values: NDArray[np.float64]) -> None:
    """Cuts the axis when the first epoch is so far off that the rest would be a flat line, and says so."""
    first, rest = values[:, :1], values[:, 1:]
    if not np.isfinite(first).any() or not np.isfinite(rest).any():
        return
    low, high = np.nanmin(rest), np.nanmax(rest)
    span = max(high - low, 1e-9 * max(abs(low), abs(high)), 1e-12)
    worst = first[np.isfinite(first)][np.abs(first[np.isfinite(first)] - low).argmax()]
    if abs(worst - (low + high) / 2) < 20 * span:
        return
    axes.set_ylim(low - 0.15 * span, high + 0.15 * span)
    axes.annotate(
        f"off the scale at the first epoch: {worst:.3g}", (0.98, 0.95), xycoords="axes fraction",
        ha="right", va="top", fontsize=6.5,
    )  # fmt: skip
