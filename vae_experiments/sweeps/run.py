"""A sweep from its plan on disk to its end, the first time and at every resume."""

import logging
import os
import shlex
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from omegaconf.errors import OmegaConfBaseException

from vae_experiments import garbage
from vae_experiments.comparison.folders import sweep_rows
from vae_experiments.comparison.rows import ELBO, ranked
from vae_experiments.comparison.screen import show
from vae_experiments.comparison.table import run_table
from vae_experiments.console import log_to_file
from vae_experiments.errors import InputError, Interrupted, RunFailed
from vae_experiments.runs.closing import closing_lines
from vae_experiments.runs.command import trust
from vae_experiments.runs.folder import RunFolder
from vae_experiments.runs.plan import Job, Plan, job_name
from vae_experiments.runs.sweep_folder import SweepFolder
from vae_experiments.sweeps.board import Board
from vae_experiments.sweeps.capacity import Capacity
from vae_experiments.sweeps.child import Died, in_child
from vae_experiments.sweeps.compose import Templates, job_config
from vae_experiments.sweeps.controller import Controller, list_failures
from vae_experiments.sweeps.executors import build_executor
from vae_experiments.sweeps.executors.base import Order
from vae_experiments.sweeps.parent import Parent
from vae_experiments.sweeps.report import Report
from vae_experiments.sweeps.search_settings import TRUSTED as OPTUNA
from vae_experiments.sweeps.source import JobSource, Outcome
from vae_experiments.tracking.address import shown
from vae_experiments.tracking.config import TrackingConfig

log = logging.getLogger(__name__)

ROWS = 20  # of the table on the screen; the files have them all


@dataclass(frozen=True)
class Terms:
    """What the command at hand has to say about a planned sweep.

    Args:
        tracking: the store, with its password.
        moved: it is not where the jobs' configs say.
        trusted: packages whose classes the configs may name; None for any.
        force: continue jobs although data, code or arithmetic have changed.
    """

    tracking: TrackingConfig
    moved: bool = False
    trusted: tuple[str, ...] | None = None
    force: bool = False

    def order(self, folder: Path) -> Order:
        """What the job in `folder` is told."""
        hidden = self.tracking.uri is not None and shown(self.tracking.uri) != self.tracking.uri
        tracking = asdict(self.tracking) if self.moved or hidden else None
        return Order(folder, Path.cwd(), dict(os.environ), self.trusted, self.force, tracking)


class Grid(JobSource):
    """The jobs of a plan that have not finished, in its order."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._waiting = deque(jobs)

    def next(self) -> Job | None:
        return self._waiting.popleft() if self._waiting else None

    def ended(self, job: Job, outcome: Outcome) -> None:
        """What became of it is in its folder."""


def run_sweep(folder: SweepFolder, terms: Terms, capacity: Capacity) -> None:
    """Runs what is left of the sweep in `folder`, whose lock the caller holds.

    Raises:
        InputError: the store cannot be used.
        RunFailed: jobs failed; each was reported.
        Interrupted: a signal; the jobs under way have saved their state.
    """
    with ExitStack() as stack:
        stack.enter_context(log_to_file(folder.path / "run.log"))
        try:
            _run_sweep(folder, terms, capacity, stack)
        except (Interrupted, KeyboardInterrupt):  # the latter before the jobs' controller takes signals over
            log.warning("stopped by a signal; continue with: %s", _again(folder))
            for line in closing_lines(folder.path):
                log.info("%s", line)
            raise


def _run_sweep(folder: SweepFolder, terms: Terms, capacity: Capacity, stack: ExitStack) -> None:
    """As `run_sweep`; what is to be done when it ends, however that is, goes on the stack."""
    plan = folder.plan()
    parent = Parent.begin(folder.path, plan, terms.tracking)
    garbage.as_usual()  # it may run for days
    folder.write_status(plan.name, "RUNNING")
    ending = _Ending()
    stack.callback(lambda: folder.write_status(plan.name, ending.status, ending.reason))
    stack.callback(lambda: parent.finish(ending.status))
    try:
        failed = _run_jobs(folder, plan, terms, capacity, parent)
    except Interrupted:
        raise
    except Exception as error:
        ending.status, ending.reason = "FAILED", f"{type(error).__name__}: {error}"
        log.debug("the sweep itself failed", exc_info=True)
        raise
    if failed:
        ending.status, ending.reason = "FAILED", f"{failed} of {len(folder.plan().jobs)} jobs failed"
        raise RunFailed(f"{ending.reason}; try them again with: {_again(folder)}")
    ending.status = "FINISHED"


def _again(folder: SweepFolder) -> str:
    """What continues the sweep, for a shell."""
    plan = folder.plan()
    configs = {"jobs": _configs(folder, plan), "search": plan.search}
    return shlex.join(["vae", "resume", os.path.relpath(folder.path), *trust(configs, OPTUNA)])


def _configs(folder: SweepFolder, plan: Plan) -> list[dict[str, Any]]:
    """The configs of as many jobs as name different classes: those that differ in numbers alone name the same."""
    kinds = {str([each for each in job.varied.values() if not isinstance(each, int | float)]): job for job in plan.jobs}
    return [folder.job(job).config() for job in kinds.values()]


@dataclass
class _Ending:
    """How a sweep ends, as far as is known: killed, unless it gets any further."""

    status: Literal["FINISHED", "FAILED", "KILLED"] = "KILLED"
    reason: str = ""


def _run_jobs(folder: SweepFolder, plan: Plan, terms: Terms, capacity: Capacity, parent: Parent) -> int:
    """Runs the jobs that are left, compares all, and says how it went; returns how many failed."""
    with ExitStack() as stack:
        source, (left, count) = _source(folder, plan, terms)
        jobs = plan.at_once or capacity.jobs
        executor = stack.enter_context(build_executor(plan.launcher, folder.path, jobs=jobs, gpus=capacity.gpus))
        log.info("%d of %d jobs to run; sweep folder %s", left, count, os.path.relpath(folder.path))
        report = Report(folder, parent)
        board = Board(left)
        controller = Controller(
            folder, source, executor, terms.order, parent, report, board, terms.tracking,
            stop_on_failure=plan.on_failure == "stop",
        )  # fmt: skip
        stack.enter_context(controller.signals())
        with board:
            controller.run()
        if not controller.signum:
            report.finish()
            _deliver(folder, parent)
            _say_where(folder)
        for line in source.results():
            log.info("%s", line)
        list_failures(folder, controller.failures)
        if controller.signum:
            raise Interrupted(controller.signum)
        return len(controller.failures)


def _deliver(folder: SweepFolder, parent: Parent) -> None:
    """Sends what jobs could not while the store was away, this time or before an interruption."""
    with suppress(InputError):  # that it is away has been said, and the jobs have said what to do
        for job in folder.plan().jobs:
            if not parent.deliver(folder.job(job).path):
                return


def _source(folder: SweepFolder, plan: Plan, terms: Terms) -> tuple[JobSource, tuple[int, int]]:
    """Where jobs come from; how many are left, and how many there are in all."""
    if plan.search is None:
        left = [job for job in plan.jobs if not (folder.job(job).begun and folder.job(job).info().status == "FINISHED")]
        return Grid(left), (len(left), len(plan.jobs))
    from vae_experiments.sweeps.search import Search
    from vae_experiments.sweeps.search_settings import SearchSettings

    trusted = None if terms.trusted is None else (*OPTUNA, *terms.trusted)
    settings = SearchSettings.from_plain(plan.search["settings"], trusted=trusted)
    templates = Templates(**plan.search["templates"])
    threads = int(plan.search["threads"])

    def make(number: int, varied: Mapping[str, Any]) -> Job:
        from vae_experiments.sweeps.estimate import survey

        name = job_name(varied)
        try:
            config = templates.config(varied)
        except OmegaConfBaseException as error:
            raise InputError(str(error).splitlines()[0]) from error
        try:
            in_child(survey, [config], cwd=Path.cwd(), timeout=None)
        except Died:  # of a signal, maybe, which says nothing of these values
            raise
        except RunFailed as error:
            raise InputError(str(error)) from error
        job = folder.write_job(number, name, varied, job_config(config, name, threads))
        folder.add_job(job)
        return job

    search = Search(settings, folder.path, make)
    return search, (search.left, settings.n_trials)


def _say_where(folder: SweepFolder) -> None:
    """The closing lines: what was reached, where it is, what to do next."""
    plan, rows = sweep_rows(folder.path)
    show(run_table(ranked(rows, ELBO), plan.keys, ELBO), ROWS, plan.name)
    best = next((row for row in ranked(rows, ELBO) if row.value(ELBO) is not None), None)
    ways = []
    if best is not None and best.folder is not None:
        job, own = os.path.relpath(best.folder), trust(RunFolder(best.folder).config())
        ways = [
            shlex.join(["vae", "generate", job, "what=manifold", *own]),
            shlex.join(["vae", "evaluate", job, *own]),
        ]
    # Last: its table has just been shown.
    ways.append(shlex.join(["vae", "compare", os.path.relpath(folder.path), *trust({"jobs": _configs(folder, plan)})]))
    for line in closing_lines(folder.path, ways):
        log.info("%s", line)
