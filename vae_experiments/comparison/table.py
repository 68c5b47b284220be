"""The table of a comparison: what varied, how it stands, what it reached; and the mean over repeats."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from vae_experiments.comparison.rows import (
    ELBO,
    FINISHED,
    KL,
    RECONSTRUCTION,
    Compared,
    higher_is_better,
    rank,
    ranked,
    repeats,
    without_seed,
)
from vae_experiments.runs.plan import short_names

Cell = str | float | int | bool | None

NONE = "-"  # what is not known (yet)
TITLES = {ELBO: "elbo", RECONSTRUCTION: "recon.", KL: "kl"}
WIDEST = 24  # characters of a swept value


@dataclass(frozen=True)
class Column:
    """A column: its title for people, its full name for programs, and each row's value."""

    title: str
    name: str
    cells: Sequence[Cell]
    show: Callable[[Cell], str]
    numeric: bool = True


@dataclass(frozen=True)
class Table:
    """Columns of equal length, the most important ones first."""

    columns: Sequence[Column]

    def __len__(self) -> int:
        return len(self.columns[0].cells)

    def texts(self) -> list[list[str]]:
        """Row by row, as shown."""
        return [list(row) for row in zip(*([c.show(cell) for cell in c.cells] for c in self.columns), strict=True)]

    def markdown(self) -> str:
        """A table in Markdown, numbers to the right."""
        lines = [
            [column.title.replace("|", "\\|") for column in self.columns],
            ["---:" if column.numeric else "---" for column in self.columns],
            *([text.replace("|", "\\|") for text in row] for row in self.texts()),
        ]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)

    def csv(self) -> str:
        """With full names and all digits; what is not known is empty, what is not finite says so."""
        import pandas as pd  # half a second to import

        # As objects, or whole numbers beside an empty cell would become fractions.
        columns = {c.name: pd.Series([_exact(cell) for cell in c.cells], dtype=object) for c in self.columns}
        return pd.DataFrame(columns).to_csv(index=False)


def _exact(cell: Cell) -> Cell:
    """NaN as a word of its own: an empty cell is a value that is not there."""
    return "NaN" if isinstance(cell, float) and math.isnan(cell) else cell


def run_table(rows: Sequence[Compared], keys: Sequence[str], metric: str = ELBO) -> Table:
    """One row for each run, the best first.

    Args:
        rows: in any order.
        keys: what varied, by full names.
        metric: what "best" is of.
    """
    rows = ranked(rows, metric)
    columns = _settings([{**row.params, "seed": row.seed} for row in rows], _with_seed(rows, keys))
    columns.append(Column("status", "status", [row.status for row in rows], _text, numeric=False))
    metrics = list(dict.fromkeys([metric, ELBO, RECONSTRUCTION, KL]))
    columns.append(_measured(rows, metrics[0]))
    columns.append(Column("epoch", "best/epoch", [row.best_epoch for row in rows], _whole))
    columns += [_measured(rows, each) for each in metrics[1:]]
    speed = "time/images_per_second"
    columns.append(Column("images/s", speed, [row.metrics.get(speed) for row in rows], _whole))
    columns.append(Column("time", "seconds", [row.seconds for row in rows], _clock))
    if any(row.diagnosis for row in rows):
        columns.append(Column("diagnosis", "diagnosis", [row.diagnosis for row in rows], _text, numeric=False))
    columns.append(Column("run", "name", [row.name for row in rows], _text, numeric=False))
    columns.append(Column("id", "run_id", [row.run_id for row in rows], _id, numeric=False))
    return Table(columns)


def summary_table(rows: Sequence[Compared], keys: Sequence[str], metric: str = ELBO) -> Table | None:
    """Mean and standard deviation over the finished runs that differ by their seeds alone, the best first.

    None where no setting was run more than once.
    """
    groups = repeats(rows, keys)
    if all(len(group) == 1 for group in groups):
        return None
    groups.sort(key=lambda group: rank(spread(_finished(group, metric))[0], metric))
    columns = _settings([group[0].params for group in groups], without_seed(keys))
    done = [sum(row.status == FINISHED for row in group) for group in groups]
    counts = [f"{d}/{len(group)}" if d < len(group) else str(d) for d, group in zip(done, groups, strict=True)]
    columns.append(Column("runs", "runs", counts, _text))
    for each in dict.fromkeys([metric, ELBO, RECONSTRUCTION, KL]):
        found = [spread(_finished(group, each)) for group in groups]
        title = TITLES.get(each, each)
        columns.append(Column(title, f"{each} mean", [mean for mean, _ in found], _nats))
        columns.append(Column(f"{title} sd", f"{each} sd", [deviation for _, deviation in found], _nats))
    return Table(columns)


def spread(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean and sample standard deviation; of fewer than one, or two, values there is none."""
    if not values:
        return None, None
    if not all(map(math.isfinite, values)):
        return math.nan, math.nan
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def note(metric: str = ELBO) -> str:
    """What the numbers are, said once."""
    better = "higher" if higher_is_better(metric) else "lower"
    return (
        f"Values at each run's best epoch, sorted by {TITLES.get(metric, metric)} ({better} is better). "
        "elbo, recon. and kl are val/elbo, val/reconstruction and val/kl in nats per image; "
        "time is that of the epochs, h:mm:ss."
    )


def _finished(group: Sequence[Compared], metric: str) -> list[float]:
    """What the finished runs reached."""
    return [value for row in group if row.status == FINISHED and (value := row.value(metric)) is not None]


def _with_seed(rows: Sequence[Compared], keys: Sequence[str]) -> list[str]:
    return [*without_seed(keys), *(["seed"] if "seed" in keys or len({row.seed for row in rows}) > 1 else [])]


def _settings(params: Sequence[Mapping[str, object]], keys: Sequence[str]) -> list[Column]:
    titles = short_names(keys)
    columns = []
    for key in keys:
        cells = [_cell(each.get(key, "")) if key in each else None for each in params]
        numeric = all(isinstance(cell, int | float) or cell is None for cell in cells)
        columns.append(Column(titles[key], key, cells, _value, numeric))
    return columns


def _cell(value: object) -> Cell:
    return value if isinstance(value, str | float | int | bool) else "null" if value is None else str(value)


def _measured(rows: Sequence[Compared], metric: str) -> Column:
    name = f"best/{metric.replace('/', '_')}" if metric.startswith(("train/", "val/")) else metric
    return Column(TITLES.get(metric, metric), name, [row.value(metric) for row in rows], _nats)


def _text(cell: Cell) -> str:
    return NONE if cell is None else " ".join(str(cell).split())


def _id(cell: Cell) -> str:
    return NONE if cell is None else str(cell)[:8]


def _value(cell: Cell) -> str:
    text = f"{cell:.6g}" if isinstance(cell, float) else _text(cell)
    return text if len(text) <= WIDEST else text[: WIDEST - 3] + "..."


def _nats(cell: Cell) -> str:
    if cell is None:
        return NONE
    number = float(cell)
    if math.isnan(number):
        return "NaN"
    return f"{number:.2f}" if abs(number) < 1e5 else f"{number:.3g}"


def _whole(cell: Cell) -> str:
    return NONE if cell is None or not math.isfinite(float(cell)) else f"{float(cell):.0f}"


def _clock(cell: Cell) -> str:
    if cell is None or not math.isfinite(float(cell)):
        return NONE
    minutes, seconds = divmod(round(float(cell)), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}" if minutes >= 60 else f"{minutes}:{seconds:02}"
