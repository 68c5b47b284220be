"""REF: the many ways to name a run, or a sweep."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vae_experiments.errors import InputError
from vae_experiments.runs.sweep_folder import PLAN, SweepFolder
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.tracking.journal import is_tracked, read_start
from vae_experiments.tracking.names import KIND_TAG, MAX_RUN_NAME, text
from vae_experiments.tracking.store import RunRecord, Store

BEST_METRIC = "best/val_elbo"  # higher is better
_SHOWN = 5  # candidates in a message
_SHORTEST = 4  # of a run id's prefix

Kind = Literal["run", "sweep"]
Sweeps = Literal["no", "too", "only"]


@dataclass(frozen=True)
class Reference:
    """A run, or a sweep, that was found.

    Args:
        run_id: of the MLflow run; None for a run folder that MLflow never knew.
        folder: the run's folder if it is on this machine, else None: its artifacts are in the store.
        name: the run's name.
        kind: whether it is a run, or the parent of a sweep's runs.
    """

    run_id: str | None
    folder: Path | None
    name: str
    kind: Kind = "run"


def resolve(
    ref: str, config: TrackingConfig, *, unfinished: bool = False, sweeps: Sweeps = "no", store: Store | None = None
) -> Reference:
    """The run, or the sweep, that `ref` names.

    Tried in this order, the first that fits is taken:

    1. `latest`: the run of the experiment that was started last; `best`: the one whose best
       validation ELBO is highest.
    2. `models:/name@alias` and `models:/name/version`: the run that the registered model came from.
    3. A run's folder, or a sweep's; it need not be known to MLflow.
    4. A run id; then a run's name or the beginning, four characters at least, of its id, which together
       must name one run.

    Args:
        ref: as typed.
        config: the store, and the experiment that `latest` and `best` look in.
        unfinished: `latest` and `best` look only at runs that are not FINISHED.
        sweeps: "no" for verbs that want a run; "too" also takes sweeps; with "only", `latest` is the latest
            sweep. What is named outright may be a run then, for the caller to see.
        store: an open one, of `config`.

    Raises:
        InputError: nothing, or more than one run, is named so; lists what could be meant. Or it is a sweep,
            and those are not wanted.
    """
    found = _found(ref, config, unfinished=unfinished, sweeps=sweeps, store=store)
    if found.kind == "sweep" and sweeps == "no":
        job = f"a job's folder, such as {found.folder / '0'}" if found.folder else "one of its runs, by id or name"
        raise InputError(f"{ref}: is a sweep, not a run: name {job}; `vae compare` shows them side by side")
    return found


def _found(ref: str, config: TrackingConfig, *, unfinished: bool, sweeps: Sweeps, store: Store | None) -> Reference:
    ref = ref.strip()
    if not ref:
        raise InputError("an empty run reference: give latest, best, a run id, a run's name or its folder")
    if ref not in ("latest", "best") and not ref.startswith("models:"):
        folder = Path(ref).expanduser().absolute()
        sweep = SweepFolder(folder).exists
        if sweep or is_run_folder(folder):
            run_id = str(read_start(folder).data["run_id"]) if is_tracked(folder) else None
            return Reference(run_id, folder, folder.name, "sweep" if sweep else "run")
        if folder.is_dir() and "/" in ref:
            raise InputError(f"{ref}: a folder, but not a run's (it has no config.yaml) nor a sweep's (no {PLAN})")
    store = store or Store.open(config)
    if ref in ("latest", "best"):
        return _reference(_first(store, ref, unfinished=unfinished, sweeps=sweeps))
    if ref.startswith("models:"):
        return _reference(_of_model(store, ref))
    return _reference(_named(store, ref))


def is_run_folder(folder: Path) -> bool:
    """Whether a run was started in `folder`."""
    return (folder / "config.yaml").is_file() or is_tracked(folder)


def _first(store: Store, ref: str, *, unfinished: bool, sweeps: Sweeps) -> RunRecord:
    only = sweeps == "only" and ref == "latest"
    where = [f"tags.`{KIND_TAG}` = 'sweep'"] if only else []
    where += ["attributes.status != 'FINISHED'"] if unfinished else []
    order = [f"metrics.`{BEST_METRIC}` DESC"] if ref == "best" else []
    # MLflow's filters pass over runs without a tag, so what is no sweep is sorted out here.
    for limit in (20, 50_000):
        found = store.runs(" AND ".join(where), order_by=order, limit=limit)
        for run in found:
            is_sweep = run.tags.get(KIND_TAG) == "sweep"
            if ref == "best" and (is_sweep or BEST_METRIC not in run.metrics):
                continue
            if only or (is_sweep and sweeps != "no") or (not is_sweep and run.status != "SCHEDULED"):
                return run
        if len(found) < limit:
            break
    what = "sweep" if only else "run"
    what = f"unfinished {what}" if unfinished else what
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
    kind: Kind = "sweep" if run.tags.get(KIND_TAG) == "sweep" else "run"
    return Reference(run.run_id, run.folder if here else None, run.name, kind)


def find_folder(ref: str, config: TrackingConfig, *, unfinished: bool = False, sweeps: Sweeps = "no") -> Path:
    """The folder, on this machine, of what `ref` names; arguments as `resolve` has them.

    Raises:
        InputError: as `resolve`; or its folder is elsewhere, or gone.
    """
    found = resolve(ref, config, unfinished=unfinished, sweeps=sweeps)
    if found.folder is None:
        raise InputError(f"{ref}: {found.kind} {found.name} ({found.run_id}) has no folder on this machine (any more)")
    return found.folder
