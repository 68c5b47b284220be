"""What pages are looked at in a browser: runs, and `vae ui` over them."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from support import command


@dataclass(frozen=True)
class Lab:
    """A working directory with a run, evaluated, and a sweep in it."""

    folder: Path
    run: Path
    sweep: Path

    @property
    def store(self) -> MlflowClient:
        return MlflowClient(f"sqlite:///{self.folder}/mlflow.db")


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """`vae ui` in a working directory; the link that it prints."""
    process = subprocess.Popen(
        command("ui", "port=5750"), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        link = process.stdout.readline().strip()
        assert link, process.communicate()[1]
        yield link
    finally:
        process.terminate()
        process.wait(60)
