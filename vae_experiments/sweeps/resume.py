"""A sweep taken up again: what was planned is checked, what is finished is skipped, the rest goes on."""

import logging
import os
from typing import Any

from vae_experiments.errors import InputError
from vae_experiments.files import digest_file
from vae_experiments.lock import RunLock
from vae_experiments.runs.plan import Plan
from vae_experiments.runs.signature import source_digest
from vae_experiments.runs.sweep_folder import SweepFolder
from vae_experiments.sweeps.capacity import Capacity, jobs_at_once
from vae_experiments.sweeps.executors import is_local
from vae_experiments.sweeps.executors.local import warm_up
from vae_experiments.sweeps.run import Terms, run_sweep

log = logging.getLogger(__name__)


def resume_sweep(folder: SweepFolder, terms: Terms) -> None:
    """Runs what is left of a sweep: jobs that did not begin, that were interrupted, and that failed.

    Raises:
        InputError: its configs or the program are not those that it was planned with; another process runs it.
        RunFailed: as `run_sweep`.
        Interrupted: as `run_sweep`.
    """
    plan = folder.plan()
    refuse_what_changed(folder, plan, force=terms.force)
    log.info("resuming %s", os.path.relpath(folder.path))
    warm_up()
    with RunLock(folder.path):
        run_sweep(folder, terms, _capacity(folder, plan))


def refuse_what_changed(folder: SweepFolder, plan: Plan, *, force: bool) -> None:
    """Raises InputError where going on would mix what was planned with something else."""
    for job in plan.jobs:
        path = folder.job(job).path / "config.yaml"
        if not path.is_file():
            raise InputError(f"{path}: is gone; put back what was planned, or start a new sweep")
        if digest_file(path) != job.digest:
            raise InputError(f"{path}: is not what was planned any more; put that back, or start a new sweep")
    if plan.code != source_digest() and not force:
        raise InputError(
            f"{folder.path}: the program has changed since the sweep was planned, so its jobs would not compare; "
            "start a new sweep, or continue all the same with force=true"
        )


def _capacity(folder: SweepFolder, plan: Plan) -> Capacity:
    """How many at once here and now; each has the threads that it was planned with."""
    count = len(plan.jobs) if plan.search is None else int(plan.search["settings"]["n_trials"])
    if not is_local(plan.launcher):
        return Capacity(plan.at_once or count, 1, "as the cluster has room")
    trainer: dict[str, Any] = folder.job(plan.jobs[0]).config()["trainer"] if plan.jobs else {}
    return jobs_at_once(
        plan.at_once, count, plan.peak_bytes, str(trainer.get("device", "auto")), trainer.get("threads")
    )
