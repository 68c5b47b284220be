"""The `vae` command as a process of its own, in a folder that nobody else uses."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from child import HERE, Failed, last_line

VAE = (sys.executable, "-m", "vae_experiments")
DATA = Path(os.environ.get("VAE_DATA", HERE.parent / "data")).absolute()


@dataclass(frozen=True)
class Ended:
    """A process that ended well.

    Args:
        seconds: from its start to its end.
        peak: its largest resident memory, bytes.
    """

    seconds: float
    peak: int


def run(command: Sequence[str], folder: Path, threads: int, *, gpu: bool = False) -> Ended:
    """Runs it there, on a GPU only if told so; classes of the bench's own modules may be named in what it is told.

    Raises:
        Failed: it did not end well.
    """
    environment = os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "VAE_DATA": str(DATA),
        **({} if gpu else {"CUDA_VISIBLE_DEVICES": ""}),
    }
    with tempfile.TemporaryFile("w+") as said:
        before = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - before
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            said.seek(0)
            raise Failed(f"{' '.join(command[2:])}: {last_line(said.read()) or process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Ended(seconds, used.ru_maxrss * unit)


def watched(watcher: str, **arguments: object) -> str:
    """The override that adds a hook of watchers.py to a run."""
    keys = "".join(f",{key}:{value}" for key, value in arguments.items())
    return f"+hooks.watcher={{_target_:watchers.{watcher}{keys}}}"


def written(path: Path) -> Any:
    """What a watcher wrote."""
    return json.loads(path.read_text())


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for runs and their store."""
    with tempfile.TemporaryDirectory(prefix="vae-bench-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
