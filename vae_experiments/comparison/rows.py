"""Runs side by side: what each was given, how it stands, and what it reached."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ELBO, RECONSTRUCTION, KL = "val/elbo", "val/reconstruction", "val/kl"
FINISHED = "FINISHED"

History = Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class Compared:
    """One run, as it is compared with others.

    Args:
        run_id: of its MLflow run; None where it has none.
        name: as people know it.
        status: FINISHED, RUNNING, FAILED, KILLED, or SCHEDULED for one that has not begun.
        params: what it was given, by full dotted names; of a sweep's job, only what was swept.
        seed: of everything random; None where it is not known.
        metrics: the last value of each, `best/...` among them.
        history: each finished epoch's metrics, from the first on; empty where they were not read.
        folder: the run's, if it is on this machine.
        reason: why it failed, in one line, where that is known.
        diagnosis: what is wrong with the trained model, by name; "" where nobody looked.
    """

    run_id: str | None
    name: str
    status: str
    params: Mapping[str, object]
    seed: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    history: History = ()
    folder: Path | None = None
    reason: str = ""
    diagnosis: str = ""

    @property
    def best(self) -> dict[str, float]:
        """The `best/...` values."""
        return {name: value for name, value in self.metrics.items() if name.startswith("best/")}

    @property
    def best_epoch(self) -> int | None:
        """From 1; None where there is none yet."""
        epoch = self.metrics.get("best/epoch")
        return int(epoch) if epoch is not None and math.isfinite(epoch) and epoch >= 1 else None

    @property
    def seconds(self) -> float | None:
        """Spent in the finished epochs; None where their times were not read."""
        known = [row["time/epoch_seconds"] for row in self.history if "time/epoch_seconds" in row]
        return sum(known) if known else None

    def value(self, metric: str) -> float | None:
        """`metric` at the best epoch, never the last one's; None where it is not known.

        What is measured once, after training (as `test/...`), has one value, which it is.
        """
        best = self.metrics.get(f"best/{metric.replace('/', '_')}")
        if best is not None:
            return best
        epoch = self.best_epoch
        if epoch is not None and epoch <= len(self.history) and metric in self.history[epoch - 1]:
            return self.history[epoch - 1][metric]
        return None if metric.startswith(("train/", "val/")) else self.metrics.get(metric)


# Losses, their parts and bits/dim are better low.
_BETTER_HIGH = (
    *("elbo", "iw_bound", "ssim", "knn_accuracy", "linear_probe_accuracy", "nmi", "ari", "silhouette"),
    *("density", "coverage", "precision", "recall", "mutual_information", "active_units", "images_per_second"),
)


def higher_is_better(metric: str) -> bool:
    """True of bounds, accuracies and the like, whatever part of the images they are of."""
    return metric.rpartition("/")[2].removeprefix("val_").startswith(_BETTER_HIGH) and not metric.endswith("_std")


def rank(value: float | None, metric: str) -> tuple[int, float]:
    """A key to sort by: the best first, after the finite values those that are not, at the end what is missing."""
    if value is None:
        return 2, 0.0
    if not math.isfinite(value):
        return 1, 0.0
    return 0, -value if higher_is_better(metric) else value


def ranked(rows: Iterable[Compared], metric: str) -> list[Compared]:
    """The best first."""
    return sorted(rows, key=lambda row: rank(row.value(metric), metric))


def setting(row: Compared, keys: Sequence[str]) -> str:
    """What the run was given of `keys`, in a form that is equal for equal settings."""
    return json.dumps([row.params.get(key) for key in keys], sort_keys=True, default=str)


def without_seed(keys: Sequence[str]) -> list[str]:
    """`keys` but for the seed: runs that differ in it alone are repeats of each other."""
    return [key for key in keys if key != "seed"]


def repeats(rows: Sequence[Compared], keys: Sequence[str]) -> list[list[Compared]]:
    """The rows in groups that differ by their seeds alone, in the order of each group's first row."""
    groups: dict[str, list[Compared]] = {}
    for row in rows:
        groups.setdefault(setting(row, without_seed(keys)), []).append(row)
    return list(groups.values())
