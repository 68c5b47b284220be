"""Where a search keeps its trials: an Optuna study in a database."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vae_experiments.errors import InputError, RunFailed
from vae_experiments.sweeps.search_settings import SECTION, SearchSettings

if TYPE_CHECKING:
    import optuna

DATABASE = "optuna.db"
FOLDER = "folder"  # attribute of a study: the sweep that it belongs to


def open_study(settings: SearchSettings, folder: Path) -> "optuna.Study":
    """The sweep's study, made when there is none yet."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    where = settings.storage or str(folder / DATABASE)
    name = settings.study or folder.name
    directions = [objective.direction for objective in settings.wanted]
    try:
        if settings.storage is None:
            # Connected to by path: in a URL some characters of a folder's name would mean something else.
            # A minute's patience, for someone else's look at the file.
            connect = partial(sqlite3.connect, folder / DATABASE, timeout=60, check_same_thread=False)
            storage = optuna.storages.RDBStorage("sqlite:///optuna.db", engine_kwargs={"creator": connect})
        else:
            storage = optuna.storages.RDBStorage(settings.storage)
        study = optuna.create_study(
            storage=storage, study_name=name, directions=directions, pruner=settings.pruner, load_if_exists=True
        )
        if settings.storage is not None:
            _claim(study, folder, where)
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError, ImportError, RuntimeError) as error:
        raise InputError(f"{where}: cannot be opened as an Optuna storage: {_first_line(error)}") from error
    return study


def _claim(study: "optuna.Study", folder: Path, where: str) -> None:
    """Keeps two sweeps from taking each other's trials for their own."""
    owner, mine = study.user_attrs.get(FOLDER), str(folder.resolve())
    if owner is None and not study.get_trials(deepcopy=False):
        study.set_user_attr(FOLDER, mine)
    elif owner != mine:
        raise InputError(
            f"{where}: its study {study.study_name!r} belongs to {owner or 'something else'}; "
            f"name another with {SECTION}.study=..., or resume that one"
        )


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turns the database's troubles into one line: what is committed is safe, and a resume goes on from it."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        raise RunFailed(
            f"the search's database cannot be used: {_first_line(error)}; when it can, 'vae resume' goes on"
        ) from error


def _first_line(error: BaseException) -> str:
    """The cause of the cause, without the statement that SQLAlchemy appends."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).splitlines()[0]
