"""REF: the many ways to name a run."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vae_experiments.errors import InputError
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.tracking.journal import is_tracked, read_start
from vae_experiments.tracking.names import MAX_RUN_NAME, text
from vae_experiments.tracking.store import RunRecord, Store

BEST_METRIC = "best/val_elbo"  # higher is better
_SHOWN = 5  # candidates in a message
_SHORTEST = 4  # of a run id's prefix


@dataclass(frozen=True)
class Reference:
    """A run that was found.

    Args:
        run_id: of the MLflow run; None for a run folder that MLflow never knew.
        folder: the run's folder if it is on this machine, else None: its artifacts are in the store.
        name: the run's name.
    """

    run_id: str | None
    folder: Path | None
    name: str


def resolve(ref: str, config: TrackingConfig, *, unfinished: bool = False) -> Reference:
    """The run that `ref` names.

    Tried in this order, the first that fits is taken:

    1. `latest`: the run of the experiment that was started last; `best`: the one whose best
       validation ELBO is highest.
    2. `models:/name@alias` and `models:/name/version`: the run that the registered model came from.
    3. A run's folder; it need not be known to MLflow.
    4. A run id; then a run's name or the beginning, four characters at least, of its id, which together
       must name one run.

    Args:
        ref: as typed.
        config: the store, and the experiment that `latest` and `best` look in.
        unfinished: `latest` and `best` look only at runs that are not FINISHED.

    Raises:
        InputError: nothing, or more than one run, is named so; lists what could be meant.
    """
    ref = ref.strip()
    if not ref:
        raise InputError("an empty run reference: give latest, best, a run id, a run's name or its folder")
    if ref not in ("latest", "best") and not ref.startswith("models:"):
        folder = Path(ref).expanduser().absolute()
        if is_run_folder(folder):
            run_id = str(read_start(folder).data["run_id"]) if is_tracked(folder) else None
            return Reference(run_id, folder, folder.name)
        if folder.is_dir() and "/" in ref:
            raise InputError(f"{ref}: a folder, but not a run's: it has no config.yaml")
    store = Store.open(config)
    if ref in ("latest", "best"):
        return _reference(_first(store, ref, unfinished=unfinished))
    if ref.startswith("models:"):
        return _reference(_of_model(store, ref))
    return _reference(_named(store, ref))


def is_run_folder(folder: Path) -> bool:
    """Whether a run was started in `folder`."""
    return (folder / "config.yaml").is_file() or is_tracked(folder)


def _first(store: Store, ref: str, *, unfinished: bool) -> RunRecord:
    where = "attributes.status != 'FINISHED'" if unfinished else ""
    order = [f"metrics.`{BEST_METRIC}` DESC"] if ref == "best" else []
    for run in store.runs(where, order_by=order, limit=1):
        if ref == "latest" or BEST_METRIC in run.metrics:
            return run
    what = "unfinished run" if unfinished else "run"
    what += f" with {BEST_METRIC}" if ref == "best" else ""
    none = f"experiment {store.experiment!r} has no {what} yet"
    raise InputError(f"{ref}: {none}: name one, or set tracking.experiment")


def _of_model(store: Store, ref: str) -> RunRecord:
    match = re.fullmatch(r"models:/+(?P<name>[^/@]+)[/@](?P<which>[^/@]+)", ref)
    if match is None:
        raise InputError(f"{ref}: models:/name@alias or models:/name/version is meant")
    run = store.run_of_model(match["name"], match["which"])
    if run is None:
        raise InputError(f"{ref}: no such registered model, alias or version, or none that came from a run")
    return run


def _named(store: Store, ref: str) -> RunRecord:
    exact = store.run(ref)
    if exact is not None:
        return exact
    # MLflow's filters cannot quote every character: a pattern finds some runs too many.
    pattern = re.sub(r"\W", "_", text(ref, MAX_RUN_NAME), flags=re.ASCII)
    found = {
        run.run_id: run
        for run in store.runs(f"attributes.run_name LIKE '{pattern}'", everywhere=True)
        if run.name == text(ref, MAX_RUN_NAME)
    }
    if re.fullmatch(rf"[0-9a-f]{{{_SHORTEST},32}}", ref):
        begins = store.runs(f"attributes.run_id LIKE '{ref}%'", everywhere=True)
        found |= {run.run_id: run for run in begins}
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise InputError(f"{ref}: {len(found)} runs are called so, give an id: {_listed([*found.values()])}")
    recent = store.runs(limit=200)
    near = difflib.get_close_matches(ref, [run.name for run in recent], _SHOWN, 0.6)
    likely = [run for run in recent if run.name in near] or recent
    nothing = f"experiment {store.experiment!r} has no runs yet"
    known = f"; there is {_listed(likely)}" if likely else f"; {nothing}"
    raise InputError(f"{ref}: no run folder, run id or run name{known}")


def _listed(runs: Sequence[RunRecord]) -> str:
    shown = [f"{run.run_id[:8]} ({run.name}, {run.status}, {run.started:%Y-%m-%d %H:%M} UTC)" for run in runs[:_SHOWN]]
    more = f" and {len(runs) - _SHOWN} more" if len(runs) > _SHOWN else ""
    return ", ".join(shown) + more


def _reference(run: RunRecord) -> Reference:
    here = run.folder is not None and run.folder.is_dir()
    return Reference(run.run_id, run.folder if here else None, run.name)


def find_folder(ref: str, config: TrackingConfig, *, unfinished: bool = False) -> Path:
    """The folder, on this machine, of the run that `ref` names; arguments as `resolve` has them.

    Raises:
        InputError: as `resolve`; or its folder is elsewhere, or gone.
    """
    found = resolve(ref, config, unfinished=unfinished)
    if found.folder is None:
        raise InputError(f"{ref}: run {found.name} ({found.run_id}) has no folder on this machine (any more)")
    return found.folder
