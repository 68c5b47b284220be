"""Puts on record that a run failed, for a run whose own process could not."""

import logging
from contextlib import suppress

from vae_experiments.errors import InputError, RunFailed
from vae_experiments.lock import RunLock
from vae_experiments.runs.folder import RunFolder
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.tracking.journal import is_tracked

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
