"""A sweep while it runs: one live table on a terminal, plain lines elsewhere."""

import logging
import time
from collections import Counter, deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from vae_experiments.console import ConsoleHandler, console
from vae_experiments.runs.plan import Job
from vae_experiments.sweeps import human
from vae_experiments.sweeps.plan_table import makespan
from vae_experiments.sweeps.source import Outcome

if TYPE_CHECKING:  # it imports PyTorch
    from vae_experiments.sweeps.progress import Progress

log = logging.getLogger(__name__)

TITLES = ("#", "job", "epoch", "loss", "best elbo", "time")
NAME, TIME = 1, 5  # columns
GAP = 2
STYLES = {"FINISHED": "green", "FAILED": "red", "STOPPED": "yellow"}
AROUND = 5  # lines of a screen that are not jobs: header, summary, "more", and what the shell needs


@dataclass
class _Row:
    """One job, as last heard of."""

    job: Job
    begun: float
    progress: "Progress | None" = None
    outcome: Outcome | None = None
    seconds: float = 0.0  # it took; only when it has ended
    trained: float | None = None  # since when nothing but pictures and records is left


class Board:
    """Every start and end is logged; on a terminal the table takes the place of those lines, which
    then go to the log file alone. Other log lines appear above the table.

    Args:
        total: jobs that will run; None when that is not known, as in a search.
        every_seconds: between two summaries where there is no terminal.
        console: to draw on.
    """

    def __init__(self, total: int | None, every_seconds: float = 30, console: Console = console) -> None:
        self._total = total
        self._every_seconds = every_seconds
        self._console = console
        self._live: Live | None = None
        self._running: dict[int, _Row] = {}
        self._ended: deque[_Row] = deque(maxlen=200)  # a screenful, whatever the screen
        self._counts: Counter[str] = Counter()
        self._seconds: list[float] = []  # that finished jobs took
        self._closings: list[float] = []  # the part of them that came after training
        self._at_once = 1  # as seen so far

    def __enter__(self) -> Self:
        self._said = time.monotonic()
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            # No thread of its own: it is drawn at `refresh`, so that nothing changes under it.
            self._live = Live(console=self._console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
            self._live.start()
            for handler in _console_handlers():
                handler.addFilter(_is_not_on_the_table)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handler in _console_handlers():
            handler.removeFilter(_is_not_on_the_table)
        if self._live:
            self._live.update(self.table(), refresh=True)
            self._live.stop()
            self._live = None

    def started(self, job: Job) -> None:
        """A job's process has been started."""
        self._running[job.number] = _Row(job, time.monotonic())
        self._at_once = max(self._at_once, len(self._running))
        log.info("job %d started: %s", job.number, job.name)
        self._draw()

    def update(self, job: Job, progress: "Progress") -> None:
        """How far it is; drawn at the next `refresh`."""
        row = self._running.get(job.number)
        if row is not None:
            row.progress = progress
            row.trained = None if progress.seconds_left != 0 else row.trained or time.monotonic()

    def ended(self, job: Job, outcome: Outcome, seconds: float) -> None:
        """It ended, after that many seconds."""
        row = self._running.pop(job.number, None) or _Row(job, time.monotonic() - seconds)
        row.outcome, row.seconds = outcome, seconds
        self._ended.appendleft(row)
        self._counts[outcome.status] += 1
        if outcome.status == "FINISHED":
            self._seconds.append(seconds)
            self._closings.append(time.monotonic() - row.trained if row.trained else 0.0)
        told = (job.number, outcome.status.lower(), human.duration(seconds))
        if outcome.status == "FAILED":
            log.error("job %d %s after %s: %s  (%s)", *told, outcome.reason, job.name)
        else:
            log.info("job %d %s after %s%s  (%s)", *told, _best(outcome), job.name)
        self._draw()

    def refresh(self) -> None:
        """Draws the table anew; off a terminal, says how the sweep stands when it is time to."""
        self._draw()
        if not self._live and time.monotonic() - self._said >= self._every_seconds:
            self._said = time.monotonic()
            log.info("%s", self.summary())

    def summary(self) -> str:
        """How many jobs stand where, and when all will be done, in a line."""
        finished = f"{self._counts['FINISHED']}"
        parts = [finished + (f" of {self._total}" if self._total is not None else "") + " finished"]
        parts += [f"{self._counts[key]} {key.lower()}" for key in ("FAILED", "STOPPED") if self._counts[key]]
        parts += [f"{len(self._running)} running"] if self._running else []
        parts += [f"{self._waiting} waiting"] if self._waiting else []
        left = self._seconds_left()
        if left is None:
            return ", ".join(parts)
        end = datetime.now() + timedelta(seconds=left)
        clock = end.strftime("%H:%M" if end.date() == datetime.now().date() else "%d %b %H:%M")
        return f"{', '.join(parts)}; about {human.duration(left)} left, until {clock}"

    def table(self) -> Group:
        """At most a screenful: jobs that run, then those that ended last."""
        room = max(self._console.height - AROUND, 3)
        rows = [*self._running.values(), *self._ended][:room]
        lines = [TITLES, *(_cells(row) for row in rows)]
        # The name gives way, never a figure.
        others = sum(max(map(len, column)) + GAP for i, column in enumerate(zip(*lines, strict=True)) if i != NAME)
        table = Table.grid(padding=(0, GAP, 0, 0))
        for i in range(len(TITLES)):
            table.add_column(justify="left" if i in (NAME, TIME) else "right", no_wrap=True)
        for cells, row in zip(lines, [None, *rows], strict=True):
            texts = [Text(cell, style="bold" if row is None else "") for cell in cells]
            texts[NAME].truncate(max(self._console.width - others, 8), overflow="ellipsis")
            if row is not None and row.outcome is not None:
                texts[TIME].stylize(STYLES[row.outcome.status])
            table.add_row(*texts)
        hidden = len(self._running) - room
        more = [Text(f"... and {hidden} more running")] if hidden > 0 else []
        return Group(table, *more, Text(self.summary(), style="bold"))

    def _draw(self) -> None:
        if self._live:
            self._live.update(self.table(), refresh=True)

    @property
    def _waiting(self) -> int:
        return 0 if self._total is None else max(0, self._total - len(self._running) - self._counts.total())

    def _seconds_left(self) -> float | None:
        """Until the last job ends; None while too little is known, and where all run longer than was to be expected."""
        now = time.monotonic()
        rows = self._running.values()
        lefts = {row.job.number: self._told(row, now) for row in rows}
        whole = self._seconds or [now - row.begun + left for row in rows if (left := lefts[row.job.number]) is not None]
        if self._total is None or not rows or not whole:
            return None
        mean = sum(whole) / len(whole)
        under_way = [
            max(mean - (now - row.begun), 0.0) if (left := lefts[row.job.number]) is None else left for row in rows
        ]
        left = makespan([mean] * self._waiting, self._at_once, under_way)
        return left if left >= 1 else None

    def _told(self, row: _Row, now: float) -> float | None:
        """What a running job has left by its own account, which is of training alone, and then as finished ones had."""
        if row.progress is None or row.progress.seconds_left is None:
            return None
        closing = sum(self._closings) / len(self._closings) if self._closings else 0.0
        return row.progress.seconds_left + max(closing - (now - row.trained if row.trained else 0.0), 0.0)


def _cells(row: _Row) -> tuple[str, str, str, str, str, str]:
    """Number, name, epoch, loss, best bound, time."""
    progress, outcome = row.progress, row.outcome
    history = outcome.history if outcome and outcome.history else progress.history if progress else ()
    last = history[-1] if history else {}
    loss = progress.loss if progress and not outcome else None
    epoch = str(len(history)) if history else "-"
    time_ = "starting"
    if progress:
        percent = f" +{100 * progress.batch // progress.steps_per_epoch}%" if progress.batch and not outcome else ""
        epoch = f"{max(progress.epoch, len(history))}/{progress.max_epochs}{percent}"
        left = progress.seconds_left
        time_ = "running" if left is None else f"{human.duration(left)} left" if left else "finishing"
    if outcome:
        ended = "done" if outcome.status == "FINISHED" else outcome.status.lower()
        time_ = f"{ended}, {human.duration(row.seconds)}"
    return (
        str(row.job.number),
        row.job.name,
        epoch,
        human.figure(last.get("train/loss") if loss is None else loss),
        human.figure(last.get("best/val_elbo")),
        time_,
    )


def _best(outcome: Outcome) -> str:
    last = outcome.history[-1] if outcome.history else {}
    if "best/val_elbo" not in last:
        return ""
    epoch = f" at epoch {last['best/epoch']:.0f}" if "best/epoch" in last else ""
    return f": best val/elbo {human.figure(last['best/val_elbo'])}{epoch}"


def _console_handlers() -> list[logging.Handler]:
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, ConsoleHandler)]


def _is_not_on_the_table(record: logging.LogRecord) -> bool:
    """Failures are said above the table as well: their reason does not fit into it."""
    return record.name != __name__ or record.levelno >= logging.WARNING
