"""What our own runs reached, in the order of a published table."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vae_experiments.comparison.folders import sweep_rows
from vae_experiments.comparison.rows import FINISHED, Compared
from vae_experiments.errors import InputError
from vae_experiments.reproduction.published import Line, PublishedTable
from vae_experiments.runs.plan import Plan
from vae_experiments.training.checkpoints import BEST


@dataclass(frozen=True)
class Measured:
    """One value of ours.

    Args:
        mean: over the runs of a column, in the published unit; None where there is none yet.
        deviation: their sample standard deviation; None for fewer than two runs.
    """

    mean: float | None
    deviation: float | None = None


@dataclass(frozen=True)
class Results:
    """Ours, beside a published table.

    Args:
        values: line by line, column by column.
        epochs: trained for, column by column, "120" or "115 to 140"; empty where columns are epochs.
        unfinished: names of runs that have not ended; their values are of the best epoch so far.
    """

    values: list[list[Measured]]
    epochs: list[str]
    unfinished: list[str]


def refuse_another(table: PublishedTable, plan: Plan, sweep: Path) -> None:
    """Raises InputError where the sweep in that folder is not over the values that the table needs."""
    swept = {key: {json.dumps(job.varied.get(key)) for job in plan.jobs} for key in plan.keys}
    wanted = {key: set(map(json.dumps, values)) for key, values in table.sweep.items() if len(values) > 1}
    if swept != wanted:  # a single value is set, not swept
        raise InputError(
            f"{sweep}: is not a sweep over {list(table.sweep)} as this table needs it; name another folder"
        )


def results(table: PublishedTable, sweep: Path) -> Results:
    """Reads a sweep's folder.

    Raises:
        InputError: it is the folder of another sweep.
    """
    plan, rows = sweep_rows(sweep)
    refuse_another(table, plan, sweep)
    begun = [row for row in rows if row.best_epoch is not None]
    groups = [
        [row for row in begun if table.key is None or row.params.get(table.key, column) == column]
        for column in table.columns
    ]
    return Results(
        values=[
            [_measured(line, table, group, column) for group, column in zip(groups, table.columns, strict=True)]
            for line in table.lines
        ],
        epochs=[] if table.key is None else [_epochs(group) for group in groups],
        unfinished=[row.name for row in rows if row.status != FINISHED],
    )


def evaluation_of(folder: Path, part: str) -> dict[str, float]:
    """The metrics that an evaluation left in a run's folder; none where there is none of its present best epoch."""
    path, best = folder / "evaluation" / f"{part}.json", folder / "checkpoints" / BEST
    try:
        if path.stat().st_mtime < best.stat().st_mtime:
            return {}
        metrics: dict[str, float] = json.loads(path.read_text())["metrics"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return metrics


def _measured(line: Line, table: PublishedTable, group: Sequence[Compared], column: int) -> Measured:
    found = [_value(line.metric, row, None if table.key is not None else column) for row in group]
    values = [line.scale * value for value in found if value is not None]
    if not values:
        return Measured(None)
    return Measured(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)


def _value(metric: str, row: Compared, epoch: int | None) -> float | None:
    """The run's at that epoch; without one, what it has been evaluated to, or else its value at the best epoch."""
    if epoch is not None:
        return row.history[epoch - 1].get(metric) if epoch <= len(row.history) else None
    assert row.folder is not None  # rows of a sweep's folder
    evaluated = evaluation_of(row.folder, metric.partition("/")[0])
    return evaluated[metric] if metric in evaluated else row.value(metric)


def _epochs(group: Sequence[Compared]) -> str:
    counts = sorted({len(row.history) for row in group})
    return "-" if not counts else str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
