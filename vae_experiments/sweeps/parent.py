"""A sweep's own run in MLflow: the parent of its jobs' runs."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from vae_experiments.runs.command import as_typed
from vae_experiments.runs.plan import Job, Plan, shown
from vae_experiments.runs.post_mortem import deliver
from vae_experiments.tracking import names
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.tracking.journal import Ending, is_tracked, read_start
from vae_experiments.tracking.registration import register
from vae_experiments.tracking.store import Store
from vae_experiments.tracking.tracker import Tracker, recorded_uri


class Parent:
    """The record of a sweep. Without tracking it does nothing.

    Args:
        folder: the sweep's, whose lock the caller holds.
        tracker: of that folder; None without tracking.
        tracking: where the jobs are recorded.
    """

    def __init__(self, folder: Path, tracker: Tracker | None, tracking: TrackingConfig) -> None:
        self._folder = folder
        self._tracker = tracker
        self._tracking = tracking
        self._store: Store | None = None

    @classmethod
    def begin(cls, folder: Path, plan: Plan, tracking: TrackingConfig) -> "Parent":
        """Starts the parent run, or takes it up again.

        Raises:
            InputError: the store cannot be used.
        """
        if not tracking.enabled:
            return cls(folder, None, tracking)
        if is_tracked(folder):
            tracker = Tracker.resume(tracking, folder=folder)
        else:
            tracker = Tracker.start(tracking, run_name=plan.name, folder=folder, tags={names.KIND_TAG: "sweep"})
        tracker.log_params(_params(plan))
        tracker.log_artifact(folder / "plan.json")
        return cls(folder, tracker, tracking)

    def register(self, folder: Path, job: Job) -> None:
        """Gives a job its run in MLflow, unless it has one.

        Raises:
            InputError: the store is away, or cannot be used.
        """
        if self._tracker is None or is_tracked(folder):
            return
        store, self._store = self._store or self._open(), None  # opened again after a failure
        register(
            store,
            self._tracking,
            run_name=job.name,
            folder=folder,
            tags={},
            parent_run_id=self._tracker.run_id,
            scheduled=True,
        )
        self._store = store

    def _open(self) -> Store:
        return Store.open(self._tracking, recorded_uri(self._tracking, read_start(self._folder)), existing=True)

    def describe(self, text: str) -> None:
        """Sets what MLflow shows at the top of the parent's page, as Markdown."""
        if self._tracker is not None:
            self._tracker.set_tags({"mlflow.note.content": text})

    def attach(self, paths: Sequence[Path]) -> None:
        """Adds files of the comparison, or newer ones in their place."""
        for path in paths:
            if self._tracker is not None:
                self._tracker.log_artifact(path, "comparison")

    def tag_job(self, folder: Path, **tags: str) -> None:
        """Sets tags on an ended job's run."""
        if self._tracker is not None and is_tracked(folder):
            Tracker.reopen(self._tracking, folder).set_tags(tags)

    def deliver(self, folder: Path) -> bool:
        """Sends what an ended job could not; False when the store is still away."""
        return self._tracker is None or deliver(folder, self._tracking)

    def finish(self, status: Ending) -> None:
        """Ends the parent run."""
        if self._tracker is not None:
            self._tracker.finish(status)


def _params(plan: Plan) -> dict[str, object]:
    """What was typed, for a shell; of a grid, each key that was swept over with its values, in the jobs' order."""
    keys = plan.keys if plan.search is None else []
    swept = {key: ", ".join(dict.fromkeys(shown(job.varied[key]) for job in plan.jobs)) for key in keys}
    return {**swept, "command": shlex.join(["vae", "train", "-m", *as_typed(plan.command)])}
