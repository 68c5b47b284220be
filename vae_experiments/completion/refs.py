"""Runs and sweeps that a REF may name, as the working directory has them."""

import json
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from vae_experiments.completion.candidate import Candidate

ROOTS = ("outputs", "multirun")
_READ = 200  # runs whose names are looked up, the newest ones
# Of letters, digits and these, nothing has to be quoted in any shell. What has is reached by its folder.
_PLAIN = re.compile(r"[\w@%+./:,-]+")


def refs(typed: str, *, sweeps: bool) -> Iterator[Candidate]:
    """What `typed` may be the beginning of: latest and best, names, folders, registered models.

    Args:
        typed: so far.
        sweeps: whether a sweep is wanted too.
    """
    if typed.startswith("models:"):
        yield from _models()
    elif "/" in typed:
        yield from _folders(typed, sweeps=sweeps)
    else:
        yield Candidate("latest", "the run started last")
        yield Candidate("best", "the highest best/val_elbo")
        if typed and "models:/".startswith(typed):
            yield Candidate("models:/", "registered models", ends=False)
        for root in ROOTS:
            if Path(root).is_dir():
                yield Candidate(f"{root}/", ends=False)
        for path in _newest(sweeps=sweeps):
            name = _name(path)
            if _PLAIN.fullmatch(name):
                yield Candidate(name, str(path))


def paths(typed: str, *, only_folders: bool = False) -> Iterator[Candidate]:
    """Files and folders that `typed` may be the beginning of."""
    folder, slash, name = typed.rpartition("/")
    try:
        entries = sorted(os.scandir(Path(folder + slash or ".").expanduser()), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        is_folder = entry.is_dir()
        hidden = entry.name.startswith(".") and not name.startswith(".")
        if not hidden and _PLAIN.fullmatch(entry.name) and (is_folder or not only_folders):
            yield Candidate(folder + slash + entry.name + "/" * is_folder, ends=not is_folder)


def _folders(typed: str, *, sweeps: bool) -> Iterator[Candidate]:
    for folder in paths(typed, only_folders=True):
        path = Path(folder.text).expanduser()
        is_sweep = (path / "plan.json").is_file()
        is_run = not is_sweep and (path / "config.yaml").is_file()
        if is_run or (is_sweep and sweeps):
            yield Candidate(folder.text.removesuffix("/"), _name(path))
        if not is_run:  # its jobs, or whatever lies below
            yield folder


def _newest(*, sweeps: bool) -> list[Path]:
    """Folders of runs, and of sweeps and their jobs, the newest first."""
    single = [*Path(ROOTS[0]).glob("*/run.json"), *Path(ROOTS[1]).glob("*/*/run.json")]
    whole = [*Path(ROOTS[1]).glob("*/run.json")] if sweeps else []
    return [path.parent for path in sorted([*single, *whole], key=_age)[:_READ]]


def _age(path: Path) -> float:
    try:
        return -path.stat().st_mtime
    except OSError:
        return 0.0


def _name(folder: Path) -> str:
    try:
        return str(json.loads((folder / "run.json").read_text(encoding="utf-8"))["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _models() -> Iterator[Candidate]:
    """Registered models by their aliases, from the database in the working directory; of no other store."""
    if not Path("mlflow.db").is_file():
        return
    query = "SELECT name, alias, version FROM registered_model_aliases ORDER BY name, alias"
    try:
        with closing(sqlite3.connect("file:mlflow.db?mode=ro", uri=True, timeout=0.1)) as database:
            for name, alias, version in database.execute(query):
                if _PLAIN.fullmatch(name):
                    yield Candidate(f"models:/{name}@{alias}", f"version {version}")
    except sqlite3.Error:
        return
