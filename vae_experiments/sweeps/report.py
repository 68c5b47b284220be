"""The comparison of a sweep's jobs, drawn again as they go on, in a process of its own."""

import logging
import os
import sys
import time
import traceback
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from vae_experiments.comparison.folders import sweep_rows
from vae_experiments.runs.sweep_folder import SweepFolder
from vae_experiments.sweeps.executors.local import start_process
from vae_experiments.sweeps.parent import Parent
from vae_experiments.sweeps.parent_page import ParentPage, draw_preview
from vae_experiments.tracking.journal import is_tracked, read_start

log = logging.getLogger(__name__)

NO_PREVIEW = 3  # exit status of the process that draws: the comparison is there, its preview is not
FIRST = 60.0  # seconds until it is drawn for the first time, unless the sweep ends before
SHARE = 0.05  # of the time, at most, that drawing takes while jobs run


class Report:
    """Keeps `comparison/` and the parent run's copy of it current.

    Attributes:
        is_due: set when there is something new to show.
    """

    def __init__(self, folder: SweepFolder, parent: Parent) -> None:
        self.is_due = False
        self._folder = folder
        self._parent = parent
        self._process: ForkServerProcess | None = None
        self._begun = time.monotonic()
        self._next = self._begun + FIRST
        self._describe()

    def advance(self) -> None:
        """Starts drawing when it is due and its time has come; attaches what has been drawn."""
        now = time.monotonic()
        if self._process is not None:
            if self._process.exitcode is None:
                return
            self._attach()
            self._next = now + (now - self._begun) / SHARE
        if self.is_due and now >= self._next:
            self._start(alone=False)

    def finish(self) -> None:
        """Draws everything once more, and waits for it."""
        if self._process is not None:
            if self._process.exitcode is None:
                self._process.kill()  # what it would draw is out of date; files are written whole or not at all
            self._process.join()
        self._start(alone=True)
        assert self._process is not None
        self._process.join()
        self._attach()

    def _start(self, *, alone: bool) -> None:
        self.is_due = False
        self._begun = time.monotonic()
        self._process = start_process(_draw, self._folder.path, Path.cwd(), alone)

    def _attach(self) -> None:
        assert self._process is not None
        if self._process.exitcode != 0:
            what = "comparison's preview" if self._process.exitcode == NO_PREVIEW else "comparison"
            log.warning("the %s could not be drawn; its traceback is in %s", what, self._folder.path / "run.log")
        self._process = None
        if self._folder.comparison.is_dir():
            self._parent.attach(sorted(path for path in self._folder.comparison.iterdir() if path.name[0] != "."))
        self._describe()

    def _describe(self) -> None:
        if not is_tracked(self._folder.path):
            return
        start = read_start(self._folder.path).data
        plan, rows = sweep_rows(self._folder.path)
        page = ParentPage(plan, start["experiment_id"], start["run_id"])
        self._parent.describe(page.text(rows, self._folder.comparison))


def _draw(sweep: Path, cwd: Path, alone: bool) -> None:
    """Writes the sweep's comparison; what it says goes to the sweep's log. `alone`: no job runs any more."""
    import torch  # takes a second, and is there in a process that was forked

    from vae_experiments.comparison.report import write_report
    from vae_experiments.sweeps.job import say_into

    os.chdir(cwd)
    os.nice(10)  # the jobs come first
    if not alone:
        torch.set_num_threads(1)
    say_into(sweep / "run.log")
    plan, rows = sweep_rows(sweep)
    write_report(rows, plan.keys, sweep / "comparison", title=plan.name)
    try:
        draw_preview(sweep / "comparison")
    except Exception:
        traceback.print_exc()
        sys.exit(NO_PREVIEW)
