"""Opening an MLflow store so that nothing breaks, and saying in one line what is wrong with it."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import requests
from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy import Dialect, Engine, event
from sqlalchemy.exc import SQLAlchemyError

from vae_experiments.errors import InputError
from vae_experiments.tracking.address import first_line, shown, sqlite_path


class StoreUnreachableError(InputError):
    """No server answers, or the database is gone, locked or full: it may work later."""


_LOCK_SECONDS = 60  # a first opening takes 2 to 5 s, and several processes may wait in line


def open_client(uri: str, *, existing: bool) -> MlflowClient:
    """A client of the store, whose database is created where it is not there yet.

    Args:
        uri: absolute.
        existing: a database that is not there is away for the moment, and must not be made anew.

    Raises:
        StoreUnreachableError: no server answers, or an existing database is not where it was.
        InputError: it cannot be used, and why.
    """
    scheme = uri.split(":", 1)[0].split("+", 1)[0]
    with one_line(uri):
        if scheme == "sqlite":
            client = _open_sqlite(uri, existing=existing)
        else:
            if scheme in ("http", "https"):
                _check_server(uri)
            client = MlflowClient(tracking_uri=uri)
    _quieten()
    return client


def _open_sqlite(uri: str, *, existing: bool) -> MlflowClient:
    path = sqlite_path(uri)
    assert path is not None
    if existing and not path.is_file():
        raise _gone(uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two processes that create the tables at the same time can leave the database broken for good.
    with FileLock(f"{path}.lock", timeout=_LOCK_SECONDS):
        # MLflow tries for 100 s to open what cannot be opened; sqlite itself says so at once.
        with closing(sqlite3.connect(path, timeout=20)) as database:
            if existing and not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'runs'").fetchone():
                raise _gone(uri)  # an empty file in its place, as other programs leave one
            with suppress(sqlite3.OperationalError):  # a network folder may not have it, and works without
                database.execute("PRAGMA journal_mode=wal")
            database.execute("BEGIN IMMEDIATE")  # writable?
            database.rollback()
        _quieten()
        _opened.add(str(path))
        return MlflowClient(tracking_uri=uri)


_opened: set[str] = set()


@event.listens_for(Engine, "do_connect")
def _never_anew(dialect: Dialect, record: object, arguments: list[Any], parameters: object) -> None:
    """Keeps MLflow's later connections from making an empty database where one was moved away."""
    if dialect.name == "sqlite" and arguments and arguments[0] in _opened and not Path(arguments[0]).is_file():
        raise sqlite3.OperationalError("unable to open database file: it is not there")


def _gone(uri: str) -> StoreUnreachableError:
    return StoreUnreachableError(f"{shown(uri)}: the database is not there (any more): restore it, or set tracking.uri")


def _check_server(uri: str) -> None:
    """Raises when nothing answers, within seconds; what it answers is for MLflow's client to judge."""
    requests.get(uri, timeout=(3, 5), stream=True).close()


def _quieten() -> None:
    """What MLflow tells its own developers stays off the console; what fails is raised to us anyway."""
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


@contextmanager
def one_line(uri: str) -> Iterator[None]:
    """Turns what goes wrong with a store into one line for the person who named it."""
    try:
        yield
    except requests.RequestException as error:
        raise StoreUnreachableError(
            f"{shown(uri)}: no server answers there ({type(error).__name__}): start it, or set tracking.uri"
        ) from error
    except (
        MlflowException,
        SQLAlchemyError,
        sqlite3.Error,
        OSError,
        ImportError,
    ) as error:
        raise _trouble(uri, error) from error


def _trouble(uri: str, error: Exception) -> InputError:
    """What is wrong, and by its class whether it may work later."""
    away = isinstance(error, (sqlite3.OperationalError, Timeout)) or (
        isinstance(error, MlflowException) and error.error_code == "TEMPORARILY_UNAVAILABLE"
    )
    return (StoreUnreachableError if away else InputError)(_reason(uri, error))


def _reason(uri: str, error: Exception) -> str:
    name = shown(uri)
    if isinstance(error, Timeout):
        held = f"another process has held {error.lock_file} for over {_LOCK_SECONDS} s"
        return f"{name}: {held}: stop it, or try later"
    if isinstance(error, ImportError):
        return f"{name}: its driver is not installed ({error}): pip install it, or set tracking.uri"
    return f"{name}: cannot be used for tracking ({first_line(error)[:300]}): set tracking.uri, or use tracking=off"
