"""A note beside a database: at which address `vae ui` shows it, for the commands that end meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import requests

from vae_experiments.tracking.address import sqlite_path

_ANSWER_SECONDS = 2


@contextmanager
def noted(uri: str, base: str) -> Iterator[None]:
    """Leaves the note for as long as the block takes; of two servers the later one has it.

    Args:
        uri: the store's; only a database in a file has a place beside it.
        base: the server's address, such as http://127.0.0.1:5000.
    """
    path = _path(uri)
    if path is None:
        yield
        return
    with suppress(OSError):
        path.write_text(base)
    try:
        yield
    finally:
        with suppress(OSError):
            if path.read_text() == base:
                path.unlink()


def shown_at(uri: str, run_id: str) -> str | None:
    """The address of a server that shows the run; None where no such is known, or where it does not have the run.

    A server that was killed leaves its note behind, its port may be another program's by now, and the folder
    may have been opened on another machine: whoever answers with the run itself is believed.
    """
    path = _path(uri)
    try:
        base = path.read_text().strip() if path is not None else ""
    except (OSError, UnicodeDecodeError):
        return None
    if not base.startswith("http://"):
        return None
    with requests.Session() as session:
        session.trust_env = False  # no proxy stands between this machine and itself
        try:
            answer = session.get(f"{base}/api/2.0/mlflow/runs/get", params={"run_id": run_id}, timeout=_ANSWER_SECONDS)
            same = answer.json()["run"]["info"]["run_id"] == run_id
        except (requests.RequestException, ValueError, KeyError, TypeError):
            return None
    return base if same else None


def _path(uri: str) -> Path | None:
    database = sqlite_path(uri)
    return None if database is None else database.with_name(f"{database.name}.ui")
