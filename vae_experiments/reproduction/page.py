"""Ours beside what was published, as a page of Markdown and as a table on the terminal."""

from collections.abc import Iterator, Sequence

from vae_experiments.comparison.table import NONE, Cell, Column, Table
from vae_experiments.reproduction.measured import Measured, Results
from vae_experiments.reproduction.published import Line, PublishedTable
from vae_experiments.runs.plan import short_names, shown

BEYOND = " *"


def beside(table: PublishedTable, results: Results) -> Table:
    """Three rows for each quantity (ours, published, the difference), and a column for each of the table's."""
    rows: list[list[str]] = []
    if results.epochs:
        rows.append(["epochs trained", *results.epochs])
    for line, values in zip(table.lines, results.values, strict=True):
        rows.append([f"{line.title}: ours", *(_ours(line, value) for value in values)])
        rows.append(["published", *(_published(line, column) for column in range(len(values)))])
        rows.append(["difference", *(_difference(line, i, value) for i, value in enumerate(values))])
    head = "epoch" if table.key is None else short_names([table.key])[table.key]
    titles = [head, *map(shown, table.columns)]
    cells = list(zip(*rows, strict=True))
    return Table(
        [
            Column(title, title, column, _as_is, numeric=i > 0)
            for i, (title, column) in enumerate(zip(titles, cells, strict=True))
        ]
    )


def verdict(table: PublishedTable, results: Results) -> list[str]:
    """How many values are within tolerance, and which are not, a line each."""
    off, compared = [], 0
    for line, column, value in _compared(table, results):
        compared += 1
        if _beyond(line, column, value):
            off.append(
                f"{line.title} at {shown(table.columns[column])}: off by {_off(line, column, value):+.{line.digits}f}, "
                f"{line.allowed(column):.{line.digits}f} allowed"
            )
    missing = sum(printed is not None for line in table.lines for printed in line.published) - compared
    first = f"{compared - len(off)} of {compared} values are within tolerance of the published ones"
    return [f"{first}; {missing} more are not measured yet." if missing else f"{first}.", *off]


def markdown(
    table: PublishedTable, results: Results, *, command: str, trained: str, quick: bool, departures: Sequence[str]
) -> str:
    """The whole page.

    Args:
        table: what was published.
        results: ours.
        command: that makes the page.
        trained: overrides of the sweep behind it.
        quick: whether it was cut short.
        departures: what was typed for the sweep against the protocol.
    """
    first, *off = verdict(table, results)
    parts = [f"# {table.title}", f"{table.source}. Made by `{command}`."]
    if quick:
        parts.append(
            f"**Quick: cut short by `{' '.join(table.quick)}`, to see that it works. These are not the published "
            "protocol's figures.**"
        )
    if departures:
        parts.append(f"**Other settings than the protocol's: `{' '.join(departures)}`.**")
    if results.unfinished:
        parts.append(f"**Not finished: {', '.join(results.unfinished)}.** Their values are of the best epoch so far.")
    parts.append(beside(table, results).markdown().rstrip())
    parts.append(
        "Differences are ours minus the published value; those marked with * are beyond the tolerance, which is "
        f"{_tolerances(table)}, or twice the published standard deviation where that is more."
    )
    parts.append(first if not off else first + " The others:\n\n" + "\n".join(f"- {each}" for each in off))
    parts += table.notes
    parts.append(f"The sweep: `vae train -m {trained}`")
    return "\n\n".join(parts) + "\n"


def _compared(table: PublishedTable, results: Results) -> Iterator[tuple[Line, int, Measured]]:
    """What both have."""
    for line, values in zip(table.lines, results.values, strict=True):
        for column, value in enumerate(values):
            if value.mean is not None and line.published[column] is not None:
                yield line, column, value


def _off(line: Line, column: int, value: Measured) -> float:
    printed = line.published[column]
    assert value.mean is not None
    assert printed is not None
    return value.mean - printed


def _beyond(line: Line, column: int, value: Measured) -> bool:
    return not abs(_off(line, column, value)) <= line.allowed(column)  # NaN too


def _ours(line: Line, value: Measured) -> str:
    return NONE if value.mean is None else _spread(value.mean, value.deviation, line.digits)


def _published(line: Line, column: int) -> str:
    printed = line.published[column]
    return NONE if printed is None else _spread(printed, line.deviation(column), line.digits)


def _difference(line: Line, column: int, value: Measured) -> str:
    if value.mean is None or line.published[column] is None:
        return NONE
    off = _off(line, column, value)
    return f"{off:+.{line.digits}f}" + (BEYOND if _beyond(line, column, value) else "")


def _spread(mean: float, deviation: float | None, digits: int) -> str:
    return f"{mean:.{digits}f}" + ("" if deviation is None else f" +- {deviation:.{digits}f}")


def _tolerances(table: PublishedTable) -> str:
    return ", ".join(f"{line.tolerance:g} for {line.title}" for line in table.lines)


def _as_is(cell: Cell) -> str:
    return str(cell)
