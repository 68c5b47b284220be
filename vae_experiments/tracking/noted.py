"""A note beside a database: at which address `vae ui` shows it, for the commands that end meanwhile."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

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
    return _answering(uri, "runs/get", {"run_id": run_id}, lambda answer: answer["run"]["info"]["run_id"] == run_id)


def open_at(uri: str, experiment_id: str, created: int | None) -> str | None:
    """The address of a server that shows the store with this experiment in it; None where no such is known.

    Args:
        uri: the store's.
        experiment_id: one of its experiments.
        created: when that was created, in milliseconds since 1970: another store has not one of the same moment.
    """
    query = {"experiment_id": experiment_id}
    return _answering(uri, "experiments/get", query, lambda answer: answer["experiment"]["creation_time"] == created)


def _answering(uri: str, what: str, query: dict[str, str], is_it: Callable[[Any], bool]) -> str | None:
    """The noted address, where a server answers there as it should."""
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
            answer = session.get(f"{base}/api/2.0/mlflow/{what}", params=query, timeout=_ANSWER_SECONDS)
            return base if is_it(answer.json()) else None
        except (requests.RequestException, ValueError, KeyError, TypeError):
            return None


def _path(uri: str) -> Path | None:
    database = sqlite_path(uri)
    return None if database is None else database.with_name(f"{database.name}.ui")
