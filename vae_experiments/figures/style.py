"""The look of every figure: sizes, fonts, colours, names that others chose, and how a file is written."""

import io
import textwrap
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from numpy.typing import NDArray
from PIL import Image

from vae_experiments.figures.raster import Pixels, without_colour
from vae_experiments.files import write_atomically

DPI = 200
MARGIN = 24  # dots of white around everything
LARGE = 800_000  # bytes beyond which a file is made smaller where nobody can see it
UNSEEN = 6  # of 255
SUBTLE = "#5a5a5a"  # notes and reference lines
UNLABELLED_GREY = "#b4b4b4"

# Ten colours that differ in lightness as well as in hue (CIELAB L from 22 to 76, at least 4 apart) and stay
# at least 20 apart in CIELAB, from each other, from white and from the grey of unlabelled images, for normal
# sight and for protan, deutan and tritan sight as Machado et al. 2009 simulate it.
CLASSES = (
    "#7eb2e6", "#802680", "#e6780b", "#044c28", "#e6b27e",
    "#4c2a44", "#268080", "#b23309", "#b27662", "#7436b2",
)  # fmt: skip

# Fixed here, so that a user's own matplotlibrc does not change a published figure. DejaVu Sans ships with
# matplotlib: the same glyphs everywhere.
RC: dict[Any, Any] = {
    "figure.dpi": DPI,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.edgecolor": "#333333",
    "axes.facecolor": "white",
    "axes.grid": False,
    "axes.unicode_minus": True,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "text.usetex": False,
    "text.parse_math": False,  # names with dollar signs are names, not formulas
}

styled = matplotlib.rc_context(RC)


def class_colours(palette: str, count: int) -> NDArray[np.float64]:
    """RGBA [count, 4] for classes in label order.

    The default palette has ten; more classes take steps along viridis, which grows lighter throughout.
    """
    if palette == "default" and count <= len(CLASSES):
        return np.array([matplotlib.colors.to_rgba(colour) for colour in CLASSES[:count]])
    colormap = matplotlib.colormaps["brg" if palette == "seed" else "viridis"]
    return np.asarray(colormap(np.linspace(0, 1, count)))


def shown(name: str, limit: int = 24) -> str:
    """A name from outside as one short line, in characters that the figures' font has."""
    printable = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in name)
    line = " ".join(printable.split())
    line = line if len(line) <= limit else line[: limit - 3] + "..."
    glyphs = _glyphs()
    return "".join(c if ord(c) in glyphs else "\N{REPLACEMENT CHARACTER}" for c in line)


@cache
def _glyphs() -> frozenset[int]:
    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


def headline(axes: Axes, title: str, note: str = "", width: int = 100) -> None:
    """A bold title above the axes and, between the two, a note wrapped at `width` characters."""
    lines = textwrap.wrap(note, width)
    axes.annotate(
        "\n".join(lines), (0, 1), xytext=(0, 5), xycoords="axes fraction", textcoords="offset points",
        va="bottom", fontsize=7, color=SUBTLE, linespacing=1.25, annotation_clip=False,
    )  # fmt: skip
    axes.annotate(
        title, (0, 1), xytext=(0, 7 + 9 * len(lines)), xycoords="axes fraction", textcoords="offset points",
        va="bottom", fontsize=9.5, fontweight="bold", annotation_clip=False,
    )  # fmt: skip


def render(figure: Figure) -> Pixels:
    """The figure as pixels [H, W, 3], white borders cut to `MARGIN`."""
    canvas = FigureCanvasAgg(figure)  # savefig would draw figures twice whose layout is worked out on drawing
    with matplotlib.rc_context(RC):
        figure.set_dpi(DPI)
        canvas.draw()
    drawn = np.asarray(canvas.buffer_rgba())
    pixels: Pixels = drawn[..., :3]
    ink = drawn.view(np.uint32)[..., 0] != 2**32 - 1  # opaque white, all four at once
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    if len(rows) == 0:
        return pixels
    top, left = max(rows[0] - MARGIN, 0), max(columns[0] - MARGIN, 0)
    return pixels[top : rows[-1] + MARGIN + 1, left : columns[-1] + MARGIN + 1]


def save_png(figure: Figure, path: Path) -> Path:
    """Writes the figure, whole or not at all: grey if it holds no colour, without a time stamp."""
    return write_png(render(figure), path)


def write_png(pixels: Pixels, path: Path) -> Path:
    """The same of pixels [H, W, 3]."""
    shown = without_colour(pixels)
    image = Image.fromarray(shown)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", dpi=(DPI, DPI))
    if buffer.tell() > LARGE and shown.ndim == 3:
        # 256 colours of its own do for a colour map, not always for photographs.
        reduced = image.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        error = np.abs(np.asarray(reduced.convert("RGB")).astype(np.int16) - pixels)
        if error.max() <= UNSEEN:
            buffer = io.BytesIO()
            reduced.save(buffer, "PNG", dpi=(DPI, DPI))
    write_atomically(path, [buffer.getbuffer()])
    return path
