"""A published table: what to train for it, what was printed, and how near ours should come."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Gt, MinLen

from vae_experiments.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Line:
    """One quantity, with a published value in every column of the table.

    Args:
        title: of the quantity, with its unit.
        metric: of ours, such as `test/kl`.
        published: the printed values, column by column; None where a column has none.
        spread: their printed standard deviations, None where a column has none; [] where none were printed.
        tolerance: how far ours may be off, in the published unit; twice the printed deviation where that is more.
        scale: what ours is multiplied with to be in the published unit: -1 for a negative log-likelihood.
        digits: after the point.
    """

    title: str
    metric: str
    published: Annotated[list[float | None], MinLen(1)]
    tolerance: Annotated[float, Gt(0)]
    spread: list[float | None] = field(default_factory=list)
    scale: float = 1.0
    digits: int = 2

    def allowed(self, column: int) -> float:
        """How far ours may be off in that column."""
        return max(self.tolerance, 2 * (self.deviation(column) or 0.0))

    def deviation(self, column: int) -> float | None:
        """The printed standard deviation of that column."""
        return self.spread[column] if self.spread else None


@dataclass(frozen=True, kw_only=True)
class PublishedTable:
    """A table of a paper, as conf/table/<name>.yaml has it.

    Args:
        title: of the page.
        source: the paper, and which of its tables.
        experiment: the name under conf/experiment that follows its protocol.
        across: what stands side by side: a sweep's runs by what varied, or the epochs of its runs.
        sweep: values by key; `seed` makes repeats, which are averaged. Across runs, one other key makes the columns.
        lines: the table's.
        quick: overrides that cut it short, to see that it works.
        notes: what a reader should know, a paragraph each.
    """

    title: str
    source: str
    experiment: str
    across: Literal["runs", "epochs"]
    sweep: dict[str, Annotated[list[Any], MinLen(1)]]
    lines: Annotated[list[Line], MinLen(1)]
    quick: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        others = [key for key in self.sweep if key != "seed"]
        if len(others) != (1 if self.across == "runs" else 0):
            raise InputError(
                f"table.sweep={list(self.sweep)}: a table across runs varies one key beside the seed, "
                "one across epochs none"
            )
        for line in self.lines:
            if len(line.published) != len(self.columns) or len(line.spread) not in (0, len(self.columns)):
                raise InputError(
                    f"table.lines: {line.title}: {len(line.published)} published values and {len(line.spread)} "
                    f"deviations for {len(self.columns)} columns; write null for a value that was not printed"
                )

    @property
    def key(self) -> str | None:
        """What varies from column to column; None where columns are epochs."""
        return next((key for key in self.sweep if key != "seed"), None)

    @property
    def columns(self) -> list[Any]:
        """The swept values, or the epochs from 1."""
        return list(range(1, len(self.lines[0].published) + 1)) if self.key is None else self.sweep[self.key]
