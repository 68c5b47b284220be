"""Puts on record what a run's own process could not."""

import logging
from contextlib import suppress
from pathlib import Path

from vae_experiments.errors import InputError, RunFailed
from vae_experiments.lock import RunLock
from vae_experiments.runs.folder import RunFolder
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.tracking.journal import Journal, is_tracked, last_status

log = logging.getLogger(__name__)


def record_failure(folder: RunFolder, tracking: TrackingConfig, reason: str, traceback: str = "") -> None:
    """Folder and MLflow say FAILED, and why. Never raises: it is about a failure that has been reported.

    Args:
        folder: of a run that no process writes.
        tracking: where it is recorded.
        reason: one line.
        traceback: of what ended it; "" for a process that was killed.
    """
    with suppress(InputError, RunFailed, OSError), RunLock(folder.path):
        folder.record_failure(reason)
        path = folder.path / "traceback.txt"
        path.write_text(traceback or f"{reason}\n", encoding="utf-8")
        if tracking.enabled and is_tracked(folder.path):
            from vae_experiments.tracking.tracker import Tracker  # MLflow takes seconds to import

            tracker = Tracker.reopen(tracking, folder.path)
            tracker.log_artifact(path)
            tracker.finish("FAILED")


def deliver(path: Path, tracking: TrackingConfig) -> bool:
    """Sends what the ended run, or sweep, in `path` could not while it went on; whether everything has arrived.

    Raises:
        InputError: its store can never be used, or another process writes the folder.
    """
    if not tracking.enabled or not is_tracked(path):
        return True
    from vae_experiments.tracking.tracker import Tracker  # MLflow takes seconds to import

    with RunLock(path):
        status, journal = RunFolder(path).info().status, Journal(path)
        if status == "RUNNING" or (last_status(path) == status and not journal.pending and not journal.left):
            return True
        return Tracker.deliver(tracking, folder=path, status=status)
