"""Markdown as MLflow's pages show it."""

from collections.abc import Sequence

_APART = "\u2003"  # an em space: MLflow gives a table's cells no padding, and drops their alignment


def table_row(cells: Sequence[str]) -> str:
    """A line of a table, whose columns stand apart."""
    *others, last = cells
    return f"| {''.join(f'{cell}{_APART}| ' for cell in others)}{last} |"


def table_head(titles: Sequence[str]) -> str:
    """The first two lines of a table."""
    return f"{table_row(titles)}\n|{'---|' * len(titles)}"
