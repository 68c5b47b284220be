"""Figures made of images: samples, reconstructions, traversals, interpolations, classes, the manifold."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vae_experiments.figures.raster import Images, Ink, to_pixels
from vae_experiments.figures.sheet import draw_sheet, fit
from vae_experiments.figures.style import shown, styled


def image_grid(images: Images, columns: int, ink: Ink, title: str, note: str = "") -> Figure:
    """Images [N, C, H, W] in rows of `columns`; what is missing in the last row stays white."""
    pixels = to_pixels(images, ink)
    rows = -(-len(pixels) // columns)
    cells = np.full((rows * columns, *pixels.shape[1:]), 255, np.uint8)
    cells[: len(pixels)] = pixels
    return draw_sheet([[cells.reshape(rows, columns, *pixels.shape[1:])]], title, note).figure


def labelled_rows(rows: Sequence[Images], labels: Sequence[str], ink: Ink, title: str, note: str = "") -> Figure:
    """One row of images [n, C, H, W] per label; shorter rows end in white."""
    columns = max(len(row) for row in rows)
    cells = np.full((len(rows), columns, *rows[0].shape[2:], 3), 255, np.uint8)
    for cell, row in zip(cells, rows, strict=True):
        cell[: len(row)] = to_pixels(row, ink)
    return draw_sheet([[cells]], title, note, row_labels=[shown(label) for label in labels]).figure


def reconstruction_pairs(
    originals: NDArray[np.uint8], reconstructions: NDArray[np.float32], columns: int, ink: Ink, note: str
) -> Figure:
    """Originals [N, C, H, W], each with its reconstruction below it, in bands of `columns`."""
    before, after = to_pixels(originals, ink), to_pixels(reconstructions, ink)
    bands, labels = [], []
    for start in range(0, len(before), columns):
        pair = np.full((2, columns, *before.shape[1:]), 255, np.uint8)
        for row, images in enumerate((before, after)):
            part = images[start : start + columns]
            pair[row, : len(part)] = part
        bands.append([pair])
        labels += ["original", "reconstruction"]
    return draw_sheet(bands, "Reconstructions", note, row_labels=labels).figure


def interpolation_rows(
    start: NDArray[np.uint8], steps: NDArray[np.float32], end: NDArray[np.uint8], ink: Ink, note: str
) -> Figure:
    """Pairs of images [P, C, H, W], and between each the images [P, S, C, H, W] along the line of codes."""
    blocks = [[to_pixels(start, ink)[:, None], to_pixels(steps, ink), to_pixels(end, ink)[:, None]]]
    share = [f"{100 * i / max(steps.shape[1] - 1, 1):.0f} %" for i in range(steps.shape[1])]
    labels = ["original", *share, "original"]
    return draw_sheet(blocks, "Interpolations between images", note, column_labels=labels).figure


@styled
def traversal_rows(
    images: NDArray[np.float32], dims: Sequence[int], values: NDArray[np.float32], ink: Ink, note: str
) -> Figure:
    """Images [D, S, C, H, W] of latent dimensions `dims` (counted from 0) run through `values` [S]."""
    sheet = draw_sheet(
        [[to_pixels(images, ink)]],
        "Traversals of the latent dimensions" if len(dims) > 1 else "Traversal of the latent dimension",
        note,
        row_labels=[dimension(dim) for dim in dims],
        column_labels=[signed(value, 1) for value in values.tolist()],
    )
    sheet.axes.set_xlabel("value of the latent dimension")
    fit(sheet.figure, sheet.axes)
    return sheet.figure


@styled
def manifold_figure(
    images: NDArray[np.float32],
    values: NDArray[np.float32],
    dims: tuple[int, int],
    ink: Ink,
    note: str,
) -> Figure:
    """The manifold [n, n, C, H, W] with latent values [n] on its border; [1, n, C, H, W] as rows of ten."""
    pixels = to_pixels(images, ink)
    if len(images) == 1:
        return _one_dimension(pixels[0], values, note)
    sheet = draw_sheet([[pixels]], "Manifold", note, gutter=0)
    # Round values between the tiles' own, which are quantiles and nowhere round.
    marked = np.arange(np.ceil(values[0] * 2), np.floor(values[-1] * 2) + 1) / 2
    labels = [signed(value, 1) for value in marked.tolist()]
    sheet.axes.set_xticks(np.interp(marked, values, sheet.columns), labels)
    sheet.axes.set_yticks(np.interp(marked, values, sheet.rows[::-1]), labels)
    sheet.axes.tick_params(length=2.5)
    sheet.axes.set_xlabel(f"latent dimension {dims[0] + 1}")
    sheet.axes.set_ylabel(f"latent dimension {dims[1] + 1}")
    for spine in sheet.axes.spines.values():
        spine.set_visible(True)
        spine.set_position(("outward", 0.5))
    fit(sheet.figure, sheet.axes)
    return sheet.figure


def _one_dimension(pixels: NDArray[np.uint8], values: NDArray[np.float32], note: str) -> Figure:
    columns = min(10, len(pixels))
    rows = -(-len(pixels) // columns)
    cells = np.full((rows * columns, *pixels.shape[1:]), 255, np.uint8)
    cells[: len(pixels)] = pixels
    starts = range(0, len(pixels), columns)
    spans = [(values[i], values[min(i + columns, len(values)) - 1]) for i in starts]
    labels = [f"{signed(low)} to {signed(high)}" for low, high in spans]
    grid = cells.reshape(rows, columns, *pixels.shape[1:])
    return draw_sheet([[grid]], "Manifold", note, row_labels=labels).figure


def dimension(dim: int) -> str:
    """A latent dimension, counted from 0, as people count it."""
    return f"dimension {dim + 1}"


def signed(value: float, decimals: int = 2) -> str:
    """A latent value with a true minus sign, and none on a zero."""
    return f"{round(value, decimals) + 0.0:.{decimals}f}".replace("-", "\N{MINUS SIGN}")
