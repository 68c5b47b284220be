"""Runs a sweep's jobs: starts them as there is room, watches them, and writes down how each of them went."""

import logging
import os
import shlex
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from vae_experiments.errors import InputError, Interrupted
from vae_experiments.lock import is_held
from vae_experiments.runs.folder import RunFolder
from vae_experiments.runs.plan import Job
from vae_experiments.runs.post_mortem import record_failure
from vae_experiments.runs.sweep_folder import SweepFolder
from vae_experiments.sweeps.board import Board
from vae_experiments.sweeps.executors.base import Executor, Handle, Order
from vae_experiments.sweeps.parent import Parent
from vae_experiments.sweeps.progress import read_progress
from vae_experiments.sweeps.report import Report
from vae_experiments.sweeps.source import History, JobSource, Outcome
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.tracking.opening import StoreUnreachableError

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2
RETRY_SECONDS = 5.0  # between tries of what is in the way: a store that is away, a job that is still held

HOPELESS = "hopeless beside the others"


@dataclass
class Running:
    """A job under way.

    Args:
        asked: why it was asked to leave; "" when it was not.
    """

    job: Job
    handle: Handle
    since: float
    asked: str = ""
    epochs: int = 0


@dataclass
class Controller:
    """One sweep's way from its first job to its last; `run` is called once.

    Args:
        folder: the sweep's; this process holds its lock.
        source: where jobs come from.
        executor: where they run.
        order: what a job's process is told.
        parent: the sweep's MLflow run.
        report: the comparison of the jobs so far.
        board: what is shown meanwhile.
        tracking: where jobs are recorded.
        stop_on_failure: no job is started, and none goes on, after one failed.
    """

    folder: SweepFolder
    source: JobSource
    executor: Executor
    order: Callable[[Path], Order]
    parent: Parent
    report: Report
    board: Board
    tracking: TrackingConfig
    stop_on_failure: bool = False
    failures: dict[int, tuple[Job, str]] = field(default_factory=dict)  # by number: which, and why
    signum: int = 0
    _running: list[Running] = field(default_factory=list)
    _closing: bool = False  # start no more
    _postponed: Job | None = None
    _said_why: str = ""
    _next_try: float = 0.0

    def run(self) -> None:
        """Returns when no job is left, or when all have left after a signal or a failure that stops the sweep."""
        while True:
            exhausted = not self._start_jobs()
            ended = [self._look_at(running) for running in list(self._running)]
            self.report.advance()
            self.board.refresh()
            if not self._running and (exhausted or self._closing):
                self._closing = True
                return
            if not any(ended):  # else the next one starts at once
                self.executor.wait(POLL_SECONDS)

    def _start_jobs(self) -> bool:
        """Starts jobs while there is room; False when the source has none at the moment."""
        while not self._closing and len(self._running) < self.executor.capacity:
            if time.monotonic() < self._next_try:
                return True
            job = self._postponed or self.source.next()
            if job is None or self._closing:  # a signal came while a search was drawing
                return False
            why_not = self._start(job)
            if why_not:
                if why_not != self._said_why:
                    log.warning("%s", why_not)
                self._next_try = time.monotonic() + RETRY_SECONDS
            self._postponed, self._said_why = (job, why_not) if why_not else (None, "")
        return True

    def _start(self, job: Job) -> str:
        """Starts one job; why it must wait, if it must."""
        folder = self.folder.job(job)
        if is_held(folder.path) and not self.executor.outlives:
            return f"job {job.number} is still being written by another process: waiting for that to end"
        if folder.begun and folder.info().status == "FINISHED":  # by that other process
            progress = read_progress(folder.path)
            self._close(job, Outcome("FINISHED", history=() if progress is None else progress.history), 0.0)
            return ""
        try:
            self.parent.register(folder.path, job)
        except StoreUnreachableError as error:
            return f"no job is started until MLflow can record it: {error}"
        folder.forget_failure()
        try:
            handle = self.executor.submit(self.order(folder.path))
        except InputError as error:  # a cluster's limit, or its controller away for a moment
            if not self._running:
                raise
            return f"job {job.number} is submitted later: {error}"
        self._running.append(Running(job, handle, time.monotonic()))
        self.board.started(job)
        return ""

    def _look_at(self, running: Running) -> bool:
        """Takes note of what a job has done since; whether it has ended."""
        job, folder = running.job, self.folder.job(running.job)
        words = running.handle.ended()  # before its progress is read: nothing is written after the end
        progress = read_progress(folder.path)
        if progress is not None:
            self.board.update(job, progress)
        history: History = () if progress is None else progress.history
        if words is not None:
            self._running.remove(running)
            self._close(job, self._judge(running, folder, words, history), time.monotonic() - running.since)
            if running.asked == HOPELESS:
                self._tag_hopeless(job, folder)
        elif len(history) > running.epochs:
            running.epochs = len(history)
            self.report.is_due = True
            has_more = progress is not None and progress.epoch < progress.max_epochs
            if has_more and not running.asked and self.source.hopeless(job, history):
                self._stop(running, HOPELESS)
        return words is not None

    def _close(self, job: Job, outcome: Outcome, seconds: float) -> None:
        """Tells everybody how a job went."""
        self.source.ended(job, outcome)
        self.board.ended(job, outcome, seconds)
        self.report.is_due = True
        if outcome.status == "FAILED":
            self.failures[job.number] = (job, outcome.reason)
            if self.stop_on_failure:
                self._stop_all("sweep.on_failure=stop")

    def _judge(self, running: Running, folder: RunFolder, words: str, history: History) -> Outcome:
        """How a job went, from its folder and from how its process ended; a death is put on record."""
        status, reason = "", ""
        if folder.begun:
            info = folder.info()
            status, reason = info.status, info.reason
        elif (folder.path / "run.json").is_file():
            status, reason = "FAILED", folder.info().reason
        if status == "FINISHED":
            return Outcome("FINISHED", history=history)
        if status == "FAILED":
            return Outcome("FAILED", reason or "see its run.log", history)
        if running.asked:
            return Outcome("STOPPED", running.asked, history)
        if words or not folder.begun:
            reason = words or "its process ended before it began"
            record_failure(folder, self.tracking, reason)
            return Outcome("FAILED", reason, history)
        return Outcome("FAILED", "it was stopped from outside; `vae resume` continues it", history)

    def _tag_hopeless(self, job: Job, folder: RunFolder) -> None:
        try:
            self.parent.tag_job(folder.path, **{"vae.pruned": HOPELESS})
        except InputError as error:
            log.warning("job %d: its tag is not on record: %s", job.number, error)

    def _stop(self, running: Running, why: str) -> None:
        running.asked = running.asked or why
        running.handle.stop()

    def _stop_all(self, why: str) -> None:
        self._closing = True
        for running in self._running:
            self._stop(running, why)

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM end the sweep: its jobs save and leave. A second one does not let them save."""

        def ask(signum: int, frame: FrameType | None) -> None:
            if self._closing and not self._running:  # drawing, at the end: nothing is lost
                raise Interrupted(signum)
            if not self.signum:
                log.warning("stopping: %d jobs save their state ...", len(self._running))
            self.signum = signum
            self._stop_all("a signal")

        before = {signum: signal.signal(signum, ask) for signum in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)


def list_failures(folder: SweepFolder, failures: Mapping[int, tuple[Job, str]]) -> None:
    """One line for each job that failed: which, why, and where to read more."""
    for number, (job, reason) in sorted(failures.items()):
        path = os.path.relpath(folder.job(job).path / "run.log")
        log.error("failed: job %d (%s): %s; see %s", number, job.name, reason, shlex.quote(path))
