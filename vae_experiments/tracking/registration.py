"""A run's entry into MLflow: once, whatever is killed in between."""

import os
import socket
import sys
import time
import uuid
from collections.abc import Mapping
from getpass import getuser
from pathlib import Path

from vae_experiments.errors import InputError
from vae_experiments.files import write_atomically
from vae_experiments.tracking import names
from vae_experiments.tracking.address import shown
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.tracking.journal import Journal, is_tracked, writing
from vae_experiments.tracking.store import Store

# Of a run's curves in MLflow, which by itself takes near-black and greys. For every kind of colour vision, on light and
# on dark (Okabe & Ito 2008, without their black and yellow), and two more.
COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7570b3", "#a6761d")
KEY = "journal.key"  # what the MLflow run can be found by until the journal has its id


def register(
    store: Store,
    config: TrackingConfig,
    *,
    run_name: str,
    folder: Path,
    tags: Mapping[str, object],
    parent_run_id: str | None = None,
    scheduled: bool = False,
) -> Journal:
    """Creates the MLflow run of `folder` and begins its journal; returns that.

    It is RUNNING, or SCHEDULED where `scheduled`: another process will take it up.

    The run gets a key that is on disk first: registered again after a kill, the folder finds its run.

    Raises:
        InputError: the store cannot be used, or `folder` already belongs to a run.
        RunFailed: `folder` cannot be written.
    """
    folder = folder.absolute()
    if is_tracked(folder):
        raise InputError(f"{folder}: already belongs to a run: `vae resume` it, or choose another folder")
    experiment_id = store.experiment_id()
    key, is_new = _key(folder)
    found = None if is_new else store.run_with_tag(names.KEY_TAG, key)
    if found is None:
        own = process_tags(folder) | {
            names.KEY_TAG: key,
            names.KIND_TAG: "run",
            "mlflow.user": _user(),
            "mlflow.source.name": Path(sys.argv[0]).name,
            "mlflow.source.type": "LOCAL",
            "mlflow.runColor": colour(folder, key),
        }
        if parent_run_id:
            own["mlflow.parentRunId"] = parent_run_id
        name = names.text(run_name.strip() or folder.name, names.MAX_RUN_NAME)
        run_id = store.create_run(experiment_id, name, names.clean_tags(own | dict(tags)), scheduled=scheduled)
    else:
        run_id, experiment_id = found.run_id, found.experiment_id
    journal = Journal(folder)
    start = journal.append(
        "start",
        now(),
        run_id=run_id,
        experiment_id=experiment_id,
        uri=shown(store.uri),
        configured=shown(config.uri) if config.uri else None,
    )
    journal.sent(start)
    return journal


def process_tags(folder: Path) -> dict[str, object]:
    """Where this process is, and what it writes: enough to see later whether it still lives."""
    return {names.FOLDER_TAG: folder, names.HOST_TAG: socket.gethostname(), names.PID_TAG: os.getpid()}


def colour(folder: Path, key: str) -> str:
    """One for each of a sweep's jobs in turn, which are folders with numbers; for other runs by their key."""
    number = int(folder.name) if folder.name.isdecimal() else int(key, 16)
    return COLOURS[number % len(COLOURS)]


def now() -> int:
    """Milliseconds since 1970, as MLflow counts."""
    return time.time_ns() // 1_000_000


def _key(folder: Path) -> tuple[str, bool]:
    """The folder's key, and whether it was made just now."""
    path = folder / KEY
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        if path.is_file() and (key := path.read_text(encoding="ascii").strip()):
            return key, False
        key = uuid.uuid4().hex
        write_atomically(path, [key.encode()])
    return key, True


def _user() -> str:
    try:
        return getuser()
    except (OSError, KeyError):  # a container's user without a name
        return str(os.getuid())
