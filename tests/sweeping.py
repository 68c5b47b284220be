"""Sweeps under way: waiting for them, and finding their processes."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil
from support import command

from vae_experiments.sweeps.progress import read_progress

QUICK = "sweep.estimate=false"
T = TypeVar("T")


def begin(*words: str) -> subprocess.Popen[str]:
    """A sweep under way in a process group of its own; `communicate` gives what it says."""
    return subprocess.Popen(
        command("train", "-m", *words), stderr=subprocess.PIPE, text=True, start_new_session=True
    )  # fmt: skip


def wait_for(found: Callable[[], T], seconds: float = 120) -> T:
    """The first value that is not empty."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


def epochs(job: Path) -> int:
    """How many the job in this folder has told of."""
    progress = read_progress(job)
    return 0 if progress is None else progress.epoch


def job_process(folder: Path) -> psutil.Process | None:
    """The process whose output goes to the job's log."""
    log = (folder / "run.log").absolute()
    for process in psutil.process_iter():
        try:
            if Path(f"/proc/{process.pid}/fd/1").readlink() == log:
                return process
        except OSError:
            continue
    return None
