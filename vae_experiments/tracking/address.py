"""Which store an address names."""

import os
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from vae_experiments.errors import InputError

_DATABASES = ("postgresql", "mysql", "mssql")


def resolve_uri(uri: str | None) -> str:
    """The store's address: `uri`, else MLFLOW_TRACKING_URI, else mlflow.db in the working directory.

    Raises:
        InputError: an address of a kind that MLflow does not record runs to.
    """
    where = "tracking.uri" if uri else "MLFLOW_TRACKING_URI"
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{_quote(Path.cwd() / 'mlflow.db')}"
    scheme = uri.split(":", 1)[0].split("+", 1)[0] if ":" in uri else ""
    if scheme in ("http", "https"):
        if not urlsplit(uri).hostname:
            raise InputError(f"{where}={uri}: names no host: http://host:port is meant")
        return uri.rstrip("/")
    if scheme == "sqlite":
        path = sqlite_path(uri)
        if path is None:
            raise InputError(f"{where}={uri}: names no file: sqlite:///folder/mlflow.db is meant")
        return f"sqlite:///{_quote(path)}"
    if scheme in _DATABASES:
        return uri
    raise InputError(
        f"{where}={shown(uri)}: not a store for runs: give sqlite:///file.db, http(s)://host:port, "
        f"or a database ({', '.join(f'{name}://' for name in _DATABASES)})"
    )


def shown(uri: str) -> str:
    """`uri` without its password."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def sqlite_path(uri: str) -> Path | None:
    """The database's file, absolute; None for other stores, and for a database in memory."""
    if not uri.startswith("sqlite"):
        return None
    try:
        database = make_url(uri).database
    except SQLAlchemyError:
        return None
    return Path(database).absolute() if database and database != ":memory:" else None


def _quote(path: Path) -> str:
    """A path as a part of a database address, in which these two characters mean something else."""
    return str(path).replace("%", "%25").replace("?", "%3F")
