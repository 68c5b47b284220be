"""Which store an address names."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from vae_experiments.errors import InputError

_DATABASES = ("postgresql", "mysql", "mssql")
_HIDDEN = "***"  # in place of a password
# What stands before a host, as urllib3 and SQLAlchemy read it: a database's password may hold / ? # and @.
_WEB_USER = re.compile(r"(?<=://)(?:[^/?#]*@|[^/?#@]*:(?!\d*(?:[/?#]|$)).*@)")
_DATABASE_PASSWORD = re.compile(r"(?<=://)([^:/]*):[^@]*@(?:[^/?#]*@)?")
_SECRET_OPTION = re.compile(r"(?<=[?&])(password|passwd|pwd|odbc_connect)=[^&#]*", re.IGNORECASE)


def resolve_uri(uri: str | None) -> str:
    """The store's address: `uri`, else MLFLOW_TRACKING_URI, else mlflow.db in the working directory.

    A `uri` from a run's record, where its password is hidden, takes it from MLFLOW_TRACKING_URI.

    Raises:
        InputError: an address of a kind that MLflow does not record runs to, or one without its password.
    """
    where = "tracking.uri" if uri else "MLFLOW_TRACKING_URI"
    own = os.environ.get("MLFLOW_TRACKING_URI")
    if uri and is_hidden(uri):
        if not own or is_hidden(own) or shown(own).rstrip("/") != uri.rstrip("/"):
            raise InputError(
                f"{uri}: its password is not kept with the run: "
                "set MLFLOW_TRACKING_URI to the whole address, or give that as tracking.uri=..."
            )
        uri = own
    uri = uri or own or f"sqlite:///{_quote(Path.cwd() / 'mlflow.db')}"
    scheme = _scheme(uri)
    if scheme in ("http", "https"):
        if not _has_host(uri):
            raise InputError(f"{where}={shown(uri)}: names no host: http://host:port is meant")
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
    """`uri` with its password hidden: one without a password is as it was."""
    scheme = _scheme(uri)
    if scheme == "sqlite":
        return uri
    if scheme in _DATABASES:
        return _SECRET_OPTION.sub(rf"\1={_HIDDEN}", _DATABASE_PASSWORD.sub(rf"\1:{_HIDDEN}@", uri, count=1))
    return _WEB_USER.sub(f"{_HIDDEN}@", uri, count=1)  # a user without a password may be a token


def shown_override(word: str) -> str:
    """An override as it may be stored."""
    key, _, value = word.partition("=")
    return f"{key}={shown(value)}" if key.lstrip("+") == "tracking.uri" else without_secrets(word)


def first_line(error: BaseException) -> str:
    """What `error` says first, without the passwords of the addresses in it."""
    return without_secrets((str(error) or type(error).__name__).strip().splitlines()[0])


def without_secrets(text: str) -> str:
    """A text without the passwords of the addresses in it."""
    return re.sub(r"(?<=://)[^\s'\"]*@", f"{_HIDDEN}@", text)


def is_hidden(uri: str) -> bool:
    """Whether `uri` lacks the password that it once had."""
    return _scheme(uri) != "sqlite" and (f"{_HIDDEN}@" in uri or f"={_HIDDEN}" in uri)


def without_password(config: Mapping[str, Any]) -> dict[str, Any]:
    """A composed config as it may be stored and logged."""
    tracking = config.get("tracking")
    if not isinstance(tracking, Mapping) or not isinstance(tracking.get("uri"), str):
        return dict(config)
    return {**config, "tracking": {**tracking, "uri": shown(tracking["uri"])}}


def sqlite_path(uri: str) -> Path | None:
    """The database's file, absolute; None for other stores, and for a database in memory."""
    if not uri.startswith("sqlite"):
        return None
    try:
        database = make_url(uri).database
    except SQLAlchemyError:
        return None
    return Path(database).absolute() if database and database != ":memory:" else None


def _scheme(uri: str) -> str:
    return uri.split(":", 1)[0].split("+", 1)[0] if ":" in uri else ""


def _has_host(uri: str) -> bool:
    try:
        parts = urlsplit(uri)
        return bool(parts.hostname) and parts.port != 0  # asking for the port checks it
    except ValueError:
        return False


def _quote(path: Path) -> str:
    """A path as a part of a database address, in which these two characters mean something else."""
    return str(path).replace("%", "%25").replace("?", "%3F")
