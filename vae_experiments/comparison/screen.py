"""The tables of a comparison on standard output: in colour and cut to a terminal's width, whole where it is piped."""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from vae_experiments.comparison.table import Column, Table

# The first to go where the terminal is narrow; the files have them.
_DISPENSABLE = ("id", "run", "images/s", "time", "diagnosis", "epoch", "kl", "recon.", "kl sd", "recon. sd")
_STYLES = {"FAILED": "red", "KILLED": "yellow", "RUNNING": "cyan", "SCHEDULED": "dim"}


def show(table: Table, most: int, title: str = "") -> None:
    """Prints the first `most` rows; what is left out, of rows or columns, is said below."""
    terminal = sys.stdout.isatty()
    console = Console(file=sys.stdout, highlight=False)
    columns = list(table.columns)
    for dispensable in _DISPENSABLE:
        if not terminal or _width(columns) <= console.width:
            break
        columns = [column for column in columns if column.title != dispensable]
    shown = Table(columns)
    if not terminal:
        console = Console(file=sys.stdout, highlight=False, width=max(_width(columns), 80))
    grid = RichTable(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for column in columns:
        grid.add_column(column.title, justify="right" if column.numeric else "left", no_wrap=True)
    for row in shown.texts()[:most]:
        style = next((_STYLES[text] for text in row if text in _STYLES), None)
        grid.add_row(*map(Text, row), style=style)
    if title:
        console.print(Text(title, style="bold"), soft_wrap=True)
    console.print(grid)
    missing = [column.title for column in table.columns if column not in columns]
    if missing:
        console.print(Text(f"no room here for: {', '.join(missing)}", style="dim"), soft_wrap=True)
    if len(table) > most:
        console.print(Text(f"and {len(table) - most} more", style="dim"), soft_wrap=True)


def _width(columns: Sequence[Column]) -> int:
    """In characters, with two blanks between columns."""
    return sum(max(len(text) for text in (c.title, *map(c.show, c.cells))) + 2 for c in columns) - 2
