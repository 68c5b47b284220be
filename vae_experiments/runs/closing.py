"""The last lines of every command that trains, to the end or not: where the results are, and what to do next."""

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from vae_experiments.errors import InputError
from vae_experiments.runs.command import override
from vae_experiments.runs.folder import RunFolder
from vae_experiments.runs.sweep_folder import SweepFolder
from vae_experiments.tracking.address import resolve_uri, shown
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.tracking.journal import is_tracked, read_start


def closing_lines(folder: Path, ways: Sequence[str] = ()) -> Iterator[str]:
    """Lines for the screen.

    Args:
        folder: the run's, or the sweep's.
        ways: commands that are likely to come next.
    """
    yield f"results   {os.path.relpath(folder)}"
    for name in ("figures", "comparison"):
        if (folder / name).is_dir():
            yield f"pictures  {os.path.relpath(folder / name)}"
    if is_tracked(folder):
        yield f"MLflow    {_page(folder)}"
    for number, way in enumerate(ways):
        yield f"{'' if number else 'next':<10}{way}"


def _page(folder: Path) -> str:
    """The run's page where a server has it, else the command that serves one."""
    from vae_experiments.tracking.noted import shown_at
    from vae_experiments.tracking.views import run_page

    start = read_start(folder).data
    uri = str(start["uri"])
    server = uri if uri.startswith(("http://", "https://")) else shown_at(uri, start["run_id"])
    if server is None:
        return shlex.join(["vae", "ui", *_store(start), *_experiment(folder)])
    return server.replace("***@", "") + run_page(start["experiment_id"], start["run_id"])


def _store(start: dict[str, Any]) -> Iterator[str]:
    """The override that names the run's store, without its password; none where a command finds it by itself."""
    recorded, configured = start["uri"], start["configured"]
    if _resolved(None) != recorded:
        yield override("tracking.uri", configured if configured and _resolved(configured) == recorded else recorded)


def _resolved(uri: str | None) -> str | None:
    with suppress(InputError):
        return shown(resolve_uri(uri))
    return None


def _experiment(folder: Path) -> Iterator[str]:
    """The override that names the run's experiment; none for the default one."""
    sweep = SweepFolder(folder)
    tracking = sweep.plan().tracking if sweep.exists else RunFolder(folder).config().get("tracking", {})
    name = tracking.get("experiment", TrackingConfig.experiment)
    if name != TrackingConfig.experiment:
        yield override("tracking.experiment", name)
