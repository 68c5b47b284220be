"""A sweep's job, in the process that was made for it."""

import logging
import os
import sys
import traceback
from pathlib import Path

from vae_experiments.config.construct import construct
from vae_experiments.errors import InputError, Interrupted, RunFailed
from vae_experiments.runs.folder import RunFolder
from vae_experiments.runs.post_mortem import record_failure
from vae_experiments.runs.runner import advance
from vae_experiments.sweeps.executors.base import Order
from vae_experiments.sweeps.progress import ProgressFile
from vae_experiments.tracking.address import without_secrets
from vae_experiments.tracking.config import TrackingConfig

log = logging.getLogger(__name__)


def run(order: Order) -> int:
    """Trains the job to its end; returns its exit status, as the `vae` command has it.

    Whatever the process says goes to the job's run.log. How the run went is in its folder: a job
    that cannot even be put together is FAILED there too.
    """
    os.environ.update(order.environment)
    os.chdir(order.cwd)
    say_into(order.folder / "run.log")
    folder = RunFolder(order.folder)
    tracking = None if order.tracking is None else construct(TrackingConfig, order.tracking)
    try:
        advance(folder.path, trusted=order.trusted, force=order.force, tracking=tracking, watchers=[ProgressFile()])
    except Interrupted as stop:
        return 128 + stop.signum
    except (InputError, RunFailed) as error:
        print(f"vae: {error}", file=sys.stderr)
        _record(folder, tracking, str(error))
        return 1 if isinstance(error, RunFailed) else 2
    except Exception as error:
        traceback.print_exc()
        _record(folder, tracking, f"{type(error).__name__}: {error}")
        return 1
    return 0


def _record(folder: RunFolder, tracking: TrackingConfig | None, reason: str) -> None:
    """What failed before the run could record it itself."""
    try:
        if folder.begun and folder.info().status == "FAILED":
            return
        section = folder.config()["tracking"]
        stored = construct(TrackingConfig, {key: value for key, value in section.items() if key != "_target_"})
    except (InputError, KeyError, AttributeError):
        stored = TrackingConfig(enabled=False)
    record_failure(folder, tracking or stored, reason, without_secrets(traceback.format_exc()))


def say_into(path: Path) -> None:
    """Sends everything that this process says, by C libraries too, to the end of a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for descriptor in (1, 2):
        os.dup2(file, descriptor)
    os.close(file)
    logging.getLogger().handlers.clear()  # some libraries bring one
    logging.getLogger().setLevel(logging.INFO)
    for noisy in ("matplotlib", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
