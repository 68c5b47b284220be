"""A sheet: blocks of image tiles with labels around them, where one image pixel is a whole number of dots."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vae_experiments.figures.raster import Pixels, enlarge, shrink, tile
from vae_experiments.figures.style import DPI, MARGIN, headline, styled

WIDTH = 1200  # dots, 6 inches: tiles are enlarged up to this
LARGEST = 2000  # dots: tiles are shrunk beyond this


@dataclass(frozen=True)
class Sheet:
    """A figure of tiles, its axes in dots from the top left corner, and the tiles' centres there."""

    figure: Figure
    axes: Axes
    columns: NDArray[np.float64]
    rows: NDArray[np.float64]


@styled
def draw_sheet(
    blocks: Sequence[Sequence[Pixels]],
    title: str,
    note: str = "",
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    gutter: int = 2,
    gap: int = 24,
) -> Sheet:
    """Blocks of tiles [R, C, H, W, 3] in rows and columns, `gap` dots of white between blocks.

    Blocks of one row of blocks have the same number of rows; of one column, of columns. Labels belong to
    the rows and columns of tiles of all blocks together; none is drawn where none is given.
    """
    height, width = blocks[0][0].shape[2:4]
    tall = sum(row[0].shape[0] for row in blocks) * height
    wide = sum(block.shape[1] for block in blocks[0]) * width
    smaller = max(1, -(-tall // LARGEST), -(-wide // LARGEST))
    larger = max(1, min(WIDTH // wide, WIDTH // tall)) if smaller == 1 else 1

    sheets = [[tile(enlarge(shrink(block, smaller), larger), gutter) for block in row] for row in blocks]
    cell_height = -(-height // smaller) * larger + gutter
    cell_width = -(-width // smaller) * larger + gutter
    rows = _centres([row[0].shape[0] for row in blocks], cell_height, gutter, gap)
    columns = _centres([block.shape[1] for block in blocks[0]], cell_width, gutter, gap)
    picture = _joined([_joined(row, gap, axis=1) for row in sheets], gap, axis=0)

    figure, axes = _canvas(picture)
    axes.set_yticks(rows[: len(row_labels)], row_labels)
    axes.set_xticks(columns[: len(column_labels)], column_labels)
    axes.tick_params(length=0)
    headline(axes, title, note, width=max(40, picture.shape[1] // 10))
    fit(figure, axes)
    return Sheet(figure, axes, columns, rows)


class _Exact(Artist):
    """A picture that fills its axes dot by dot; imshow would resample it, for the same dots, slowly.

    For a canvas of DPI dots an inch, as `render` has it.
    """

    def __init__(self, picture: Pixels) -> None:
        super().__init__()
        opaque = np.full((*picture.shape[:2], 1), 255, np.uint8)
        self._upwards = np.concatenate([picture, opaque], axis=2)[::-1]  # Agg counts rows from the bottom

    def draw(self, renderer: RendererBase) -> None:
        assert self.axes is not None
        box = self.axes.get_window_extent(renderer)
        context = renderer.new_gc()
        renderer.draw_image(context, round(box.x0), round(box.y0), self._upwards)
        context.restore()


def _canvas(picture: Pixels) -> tuple[Figure, Axes]:
    height, width = picture.shape[:2]
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.add_artist(_Exact(picture))
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure, axes


def fit(figure: Figure, axes: Axes) -> None:
    """Makes the figure as large as what it shows, moving the picture by whole dots only."""
    box = axes.get_window_extent()
    width, height = round(box.width), round(box.height)
    around = axes.get_tightbbox()
    assert around is not None
    left, bottom = (int(np.ceil(d)) + MARGIN for d in (box.x0 - around.x0, box.y0 - around.y0))
    right, top = (int(np.ceil(d)) + MARGIN for d in (around.x1 - box.x1, around.y1 - box.y1))
    total_width, total_height = left + width + right, bottom + height + top
    figure.set_size_inches(total_width / DPI, total_height / DPI)
    axes.set_position((left / total_width, bottom / total_height, width / total_width, height / total_height))


def _centres(counts: Sequence[int], cell: int, gutter: int, gap: int) -> NDArray[np.float64]:
    """Where tiles have their centres along one direction, blocks of `counts` tiles after each other."""
    centres, start = [], 0.0
    for count in counts:
        centres += [start + (i + 0.5) * cell + gutter / 2 for i in range(count)]
        start += count * cell + gutter + gap
    return np.array(centres)


def _joined(pictures: Sequence[Pixels], gap: int, axis: int) -> Pixels:
    parts: list[Pixels] = []
    for picture in pictures:
        if parts:
            shape = list(picture.shape)
            shape[axis] = gap
            parts.append(np.full(shape, 255, np.uint8))
        parts.append(picture)
    return np.concatenate(parts, axis=axis)
