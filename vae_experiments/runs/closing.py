"""The last lines of every command that trains: where the results are, and what to do next."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from vae_experiments.tracking.journal import is_tracked, read_start


def closing_lines(folder: Path, ways: Sequence[str]) -> Iterator[str]:
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
        return "vae ui"
    return server.replace("***@", "") + run_page(start["experiment_id"], start["run_id"])
