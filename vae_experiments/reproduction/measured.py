"""What our own runs reached, in the order of a published table."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vae_experiments.comparison.folders import sweep_rows
from vae_experiments.comparison.rows import FINISHED, Compared
from vae_experiments.config.construct import construct
from vae_experiments.errors import InputError
from vae_experiments.evaluation.config import EvaluationConfig, plain
from vae_experiments.reproduction.published import Line, PublishedTable
from vae_experiments.runs.folder import RunFolder
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


def refuse_another(table: PublishedTable, plan: Plan, sweep: Path, *, quick: bool) -> None:
    """Raises InputError where the sweep in that folder is not the one that the table, or its quick form, needs."""
    swept = {key: {json.dumps(job.varied.get(key)) for job in plan.jobs} for key in plan.keys}
    wanted = {key: set(map(json.dumps, values)) for key, values in table.sweep.items() if len(values) > 1}
    same = f"experiment={table.experiment}" in plan.command and swept == wanted  # a single value is set, not swept
    cut = bool(table.quick) and set(table.quick) <= set(plan.command)
    if not same or cut != (quick and bool(table.quick)):
        raise InputError(
            f"{sweep}: holds another sweep than this table needs (vae train -m {' '.join(plan.command)}); name another "
            "folder with folder=..."
        )


# What is typed of these changes no figure.
_HARMLESS = ("sweep.", "hydra", "tracking", "figures", "name=", "hooks.models", "hooks.gallery", "trainer.threads")


def departures(table: PublishedTable, plan: Plan) -> list[str]:
    """What was typed for the sweep beyond the experiment, the swept values and the quick form."""
    known = (f"experiment={table.experiment}", *table.quick)
    about = (*(f"{key}=" for key in table.sweep), *_HARMLESS)
    return [word for word in plan.command if word not in known and not word.lstrip("+~").startswith(about)]


def results(table: PublishedTable, sweep: Path) -> Results:
    """Reads a sweep's folder."""
    rows = sweep_rows(sweep)[1]
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


def evaluation_of(folder: Path) -> dict[str, float]:
    """The `test/...` metrics that were measured on a run's present best epoch, and as its own config says.

    Empty where there are none of that kind: none at all, of an earlier epoch, with other settings.
    """
    path, best = folder / "evaluation" / "test.json", folder / "checkpoints" / BEST
    try:
        if path.stat().st_mtime < best.stat().st_mtime:
            return {}
        found = json.loads(path.read_text())
        metrics: dict[str, float] = found["metrics"]
        settings = found["settings"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return metrics if settings == plain(evaluation_config(folder)) else {}


def evaluation_config(folder: Path) -> EvaluationConfig:
    """How a run is to be evaluated, by its own config."""
    return construct(EvaluationConfig, RunFolder(folder).config()["evaluation"])


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
    if not metric.startswith("test/"):
        return row.value(metric)
    assert row.folder is not None  # rows of a sweep's folder
    return evaluation_of(row.folder).get(metric)


def _epochs(group: Sequence[Compared]) -> str:
    counts = sorted({len(row.history) for row in group})
    return "-" if not counts else str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
