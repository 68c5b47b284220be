"""Runs as their folders have them: without MLflow, and while they run."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from vae_experiments.comparison.rows import Compared, History
from vae_experiments.comparison.varied import settings
from vae_experiments.errors import InputError
from vae_experiments.evaluation.config import DIAGNOSIS
from vae_experiments.runs.folder import RunFolder
from vae_experiments.runs.plan import Plan
from vae_experiments.runs.sweep_folder import SweepFolder
from vae_experiments.tracking.journal import is_tracked, read_start

PROGRESS = "progress.json"


def sweep_rows(sweep: Path, *, whole: bool = False) -> tuple[Plan, list[Compared]]:
    """A sweep's plan and its jobs, those that have not begun too, each with what was swept; or its `whole` config.

    Raises:
        InputError: `sweep` holds no plan.
    """
    plan = SweepFolder(sweep).plan()
    rows = []
    for job in plan.jobs:
        folder, seed = sweep / str(job.number), job.varied.get("seed")
        if whole and (folder / "config.yaml").is_file():
            rows.append(replace(run_row(folder), name=job.name))
        else:
            rows.append(_row(folder, job.name, job.varied, seed if isinstance(seed, int) else None))
    return plan, rows


def run_row(folder: Path) -> Compared:
    """A single run, with its whole config.

    Raises:
        InputError: its config cannot be read.
    """
    config = RunFolder(folder).config()
    seed = config.get("seed")
    try:
        name = RunFolder(folder).info().name
    except InputError:  # not begun
        name = str(config.get("name") or folder.name)
    return _row(folder, name, settings(config), seed if isinstance(seed, int) else None)


def _row(folder: Path, name: str, params: Mapping[str, object], seed: int | None) -> Compared:
    history = _history(folder)
    status, reason = _status(folder)
    return Compared(
        run_id=str(read_start(folder).data["run_id"]) if is_tracked(folder) else None,
        name=name,
        status=status,
        params=params,
        seed=seed,
        metrics=history[-1] if history else {},
        history=history,
        folder=folder,
        reason=reason,
        diagnosis=_diagnosis(folder),
    )


def _diagnosis(folder: Path) -> str:
    try:
        return str(json.loads((folder / DIAGNOSIS).read_text(encoding="utf-8"))["tag"])
    except (OSError, ValueError, TypeError, KeyError):
        return ""


def _status(folder: Path) -> tuple[str, str]:
    """How the run stands, and why it failed."""
    if not (folder / "run.json").is_file():
        return "SCHEDULED", ""
    try:
        info = RunFolder(folder).info()
    except InputError as error:
        return "UNKNOWN", str(error)
    return info.status, info.reason


def _history(folder: Path) -> History:
    """From progress.json; where a run left none, from its newest whole checkpoint."""
    try:
        history: History = json.loads((folder / PROGRESS).read_text(encoding="utf-8"))["history"]
        return history
    except (OSError, ValueError, TypeError, KeyError):
        pass
    if not any((folder / "checkpoints").glob("*.ckpt")):
        return ()
    from vae_experiments.training.checkpoints import load_latest  # torch takes a second to import

    content = load_latest(folder / "checkpoints")
    return () if content is None else content["state"]["history"]
