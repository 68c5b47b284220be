"""Runs as the MLflow store has them: a thousand of them in one query, histories only of those drawn."""

from collections.abc import Sequence
from dataclasses import replace

from vae_experiments import garbage
from vae_experiments.comparison.rows import KL, RECONSTRUCTION, Compared
from vae_experiments.comparison.varied import stored_settings
from vae_experiments.tracking.names import KIND_TAG
from vae_experiments.tracking.store import RunRecord, Store

_TIME = "time/epoch_seconds"


def stored_row(run: RunRecord) -> Compared:
    """A run without its history."""
    seed = run.params.get("seed", "")
    return Compared(
        run_id=run.run_id,
        name=run.name,
        status=run.status,
        params=stored_settings(run.params),
        seed=int(seed) if seed.isdecimal() else None,
        metrics=run.metrics,
        folder=run.folder if run.folder is not None and run.folder.is_dir() else None,
        diagnosis=run.tags.get("diagnosis", ""),
    )


def children(store: Store, parent: str, limit: int) -> list[Compared]:
    """The runs of a parent run, in whichever experiment, the newest `limit` of them."""
    with garbage.never():
        found = store.runs(f"tags.`mlflow.parentRunId` = '{parent}'", limit=limit, everywhere=True)
        return [stored_row(run) for run in found]


def whole_experiment(store: Store, limit: int) -> list[Compared]:
    """The newest `limit` runs of the configured experiment, without the parents of sweeps."""
    with garbage.never():
        return [stored_row(run) for run in store.runs(limit=limit) if run.tags.get(KIND_TAG) != "sweep"]


def with_histories(store: Store, rows: Sequence[Compared], metric: str) -> list[Compared]:
    """The rows with their epochs' `metric` and times, and what is missing of the best epoch's parts.

    Some milliseconds a run: meant for those that are drawn.
    """
    return [_with_history(store, row, metric) for row in rows]


def _with_history(store: Store, row: Compared, metric: str) -> Compared:
    if row.history or row.run_id is None or row.best_epoch is None:
        return row
    wanted = {metric, _TIME, *(part for part in (RECONSTRUCTION, KL) if row.value(part) is None)}
    epochs: dict[int, dict[str, float]] = {}
    for name in sorted(wanted & row.metrics.keys()):
        for epoch, value in store.history(row.run_id, name):
            epochs.setdefault(epoch, {})[name] = value
    return replace(row, history=[epochs.get(epoch, {}) for epoch in range(1, max(epochs, default=0) + 1)])
