"""Runs side by side, as pictures of a comparison see them: what each was given, and its colour."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import NDArray

from vae_experiments.figures.style import CLASSES, shown

Floats = NDArray[np.float64]

FEW = 8  # values that each get a tick, a line or a colour of their own
DECADES = 4.0  # ratio of the largest to the smallest of three values or more, from which on an axis is logarithmic
MISSING = "none"


@dataclass(frozen=True)
class Scale:
    """Where the values of one setting lie along an axis.

    Args:
        title: of the axis.
        positions: [N], in the axis's own units; of categories 0, 1, ... .
        ticks: position and label of every value where there are few; empty for an axis of its own ticks.
        log: numbers over a large range.
        categorical: values without a distance.
    """

    title: str
    positions: Floats
    ticks: Sequence[tuple[float, str]]
    log: bool
    categorical: bool

    @classmethod
    def of(cls, title: str, values: Sequence[object]) -> "Scale":
        """The scale that fits: numbers where all are numbers, categories otherwise, "none" for None."""
        numbers = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
        if len(numbers) < len(values) or not all(map(math.isfinite, numbers)):
            names = [_name(value) for value in values]
            order = list(dict.fromkeys(_name(value) for value in sorted(values, key=_category)))
            at = np.array([order.index(name) for name in names], float)
            return cls(title, at, [(float(i), shown(name, 18)) for i, name in enumerate(order)], False, True)
        distinct = sorted(set(numbers))
        log = len(distinct) > 2 and distinct[0] > 0 and distinct[-1] / distinct[0] >= DECADES
        ticks = [(number, plain(number)) for number in distinct] if len(distinct) <= FEW else []
        return cls(title, np.array(numbers), ticks, log, False)

    @property
    def distinct(self) -> list[float]:
        """The positions, each once, in order."""
        return [float(position) for position in np.unique(self.positions)]

    def set_x(self, axes: Axes) -> None:
        """Makes it the axes' horizontal one."""
        axes.set_xlabel(self.title)
        if self.log:
            axes.set_xscale("log")
            written_out(axes.xaxis, self.distinct)
        if self.ticks:
            axes.set_xticks([at for at, _ in self.ticks], [label for _, label in self.ticks])
            axes.minorticks_off()
        if self.categorical:
            axes.set_xlim(-0.5, len(self.ticks) - 0.5)
            if max(len(label) for _, label in self.ticks) * len(self.ticks) > 36:
                axes.tick_params(axis="x", labelrotation=30)
                for label in axes.get_xticklabels():
                    label.set_horizontalalignment("right")

    @cached_property
    def fractions(self) -> Floats:
        """[N] in 0..1, from the least to the greatest along the axis; halves where all are equal."""
        values = np.log(self.positions) if self.log else self.positions
        low, high = values.min(), values.max()
        return np.full(len(values), 0.5) if high == low else (values - low) / (high - low)


@dataclass(frozen=True)
class Lineup:
    """N runs.

    Args:
        parameters: title to the value that each run was given, in order of importance; without the seed.
        repeats: [N]; runs that differ by their seed alone share a number.
        labels: [N] what each run is called in a picture; the same for repeats.
        finished: [N] whether its values are final.
    """

    parameters: Mapping[str, Sequence[object]]
    repeats: NDArray[np.int64]
    labels: Sequence[str]
    finished: NDArray[np.bool_]

    @cached_property
    def scales(self) -> list[Scale]:
        """Of each parameter."""
        return [Scale.of(shown(title), values) for title, values in self.parameters.items()]

    def groups(self, among: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
        """Rows of the runs `among` [N], repeats together."""
        return [np.flatnonzero((self.repeats == number) & among) for number in dict.fromkeys(self.repeats[among])]


@dataclass(frozen=True)
class Colouring:
    """Colours of N runs by the value of one setting, and the key to them.

    Args:
        title: of the setting.
        colours: RGBA [N, 4].
        entries: label and colour of each value; empty where a colour bar says it.
        bar: of the colour bar, where there are many values.
    """

    title: str
    colours: Floats
    entries: Sequence[tuple[str, Floats]]
    bar: ScalarMappable | None = None

    @classmethod
    def by(cls, scale: Scale) -> "Colouring":
        """Categories in colours of their own, numbers from dark to light."""
        at = scale.distinct
        ranks = np.searchsorted(at, scale.positions)
        if scale.categorical and len(at) <= len(CLASSES):
            table = np.array([matplotlib.colors.to_rgba(colour) for colour in CLASSES])[[9, 2, 6, 7, 0, 3, 1, 4, 8, 5]]
            colours = table[: len(at)]
        elif scale.ticks:
            colours = lightening(np.linspace(0, 1, len(at)) if len(at) > 1 else np.zeros(1))
        else:
            norm = (LogNorm if scale.log else Normalize)(at[0], at[-1])
            bar = ScalarMappable(norm, matplotlib.colors.ListedColormap(lightening(np.linspace(0, 1, 256))))
            return cls(scale.title, lightening(scale.fractions), [], bar)
        labels = dict(scale.ticks)
        return cls(scale.title, colours[ranks], [(labels[a], c) for a, c in zip(at, colours, strict=True)])

    def key(self, axes: Axes, *, lines: bool, more: Sequence[Line2D] = ()) -> None:
        """The key to the colours, and to `more`, on the right of the axes."""
        handles = [
            Line2D([], [], color=tuple(c), linestyle="-" if lines else "none", marker="" if lines else "o", label=label)
            for label, c in self.entries
        ]
        if self.bar is not None:
            bar = axes.figure.colorbar(self.bar, ax=axes, pad=0.02, aspect=30)
            bar.set_label(self.title)
            if isinstance(self.bar.norm, LogNorm):
                written_out(bar.ax.yaxis, [self.bar.norm.vmin or 1.0, self.bar.norm.vmax or 1.0])
            bar.outline.set_visible(False)
        parts = [*([heading(self.title), *handles] if handles else []), *more]
        if parts and self.bar is None:
            axes.legend(
                handles=parts, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0, handlelength=1.4,
                markerscale=0.7,
            )  # fmt: skip
        elif parts:
            axes.legend(handles=parts, loc="upper right", handlelength=1.4, markerscale=0.7)


def lightening(fractions: Floats) -> Floats:
    """RGBA [N, 4] along viridis, without its end that is too light for lines on white."""
    return np.asarray(matplotlib.colormaps["viridis"](0.88 * fractions))


def heading(title: str) -> Line2D:
    """A line of a legend that only says what the ones below it are."""
    return Line2D([], [], linestyle="none", label=f"{title}:")


def plain(number: float) -> str:
    """A number as people write it."""
    return ("\N{MINUS SIGN}" if number < 0 else "") + f"{abs(number):g}"


def log_locator(values: Sequence[float]) -> LogLocator:
    """Powers of ten where there are several, or thirds and halves of them."""
    decades = math.log10(max(values) / min(values))
    return LogLocator(subs=(1.0,) if decades > 2.5 else (1.0, 3.0) if decades > 1.3 else (1.0, 2.0, 5.0))


def written_out(axis: Axis, values: Sequence[float]) -> None:
    """Makes a logarithmic axis say 0.001 and not a power of ten, which needs a formula's type."""
    axis.set_major_locator(log_locator(values))
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
    axis.set_minor_locator(NullLocator())


def _name(value: object) -> str:
    if value is None:
        return MISSING
    return plain(value) if isinstance(value, float) else str(value)


def _category(value: object) -> tuple[int, float, str]:
    """Sorts numbers before words, and what is missing before both."""
    if value is None:
        return 0, 0.0, ""
    return (1, float(value), "") if isinstance(value, int | float) else (2, 0.0, str(value))


def clean(axes: Axes) -> None:
    """Faint lines to read heights by, no box."""
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def in_view(lineup: Lineup, values: Floats, *, higher: bool) -> NDArray[np.bool_]:
    """[N] whether a value belongs in the picture: finite, and not so far off that the others become one point.

    Where a picture of the finished runs alone would do, unfinished ones do not blow it up.
    """
    finite = np.isfinite(values)
    if not finite.any():
        return finite
    middle = float(np.median(values[finite]))
    best = float(values[finite].max() if higher else values[finite].min())
    room = 10 * max(abs(best - middle), 0.1 * abs(middle), 1e-9)
    near: NDArray[np.bool_] = finite & (np.abs(np.where(finite, values, middle) - middle) <= room)
    final = near & lineup.finished
    if final.sum() > 1 and np.ptp(values[final]) > 0:
        low, high = values[final].min(), values[final].max()
        slack = 0.5 * (high - low)
        near &= final | ((values >= low - slack) & (values <= high + slack))
    return near
