"""From REFs to the runs that are compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vae_experiments.comparison.folders import run_row, sweep_rows
from vae_experiments.comparison.rows import Compared, ranked
from vae_experiments.comparison.stored import children, stored_row, whole_experiment, with_histories
from vae_experiments.comparison.varied import varied_keys
from vae_experiments.errors import InputError
from vae_experiments.runs.reference import Reference, Sweeps, is_run_folder, resolve
from vae_experiments.runs.sweep_folder import SweepFolder
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.tracking.store import Store

ALL = "all"
DRAWN = 60  # runs whose histories are read from the store, the best ones


@dataclass(frozen=True)
class Comparison:
    """Runs to compare.

    Args:
        rows: the best first.
        keys: what varied among them, `seed` where it did.
        title: of the table and the pictures.
        sweep: the one sweep that they are, if they are one.
    """

    rows: list[Compared]
    keys: list[str]
    title: str
    sweep: Reference | None = None


def gather(refs: Sequence[str], tracking: TrackingConfig, *, metric: str, limit: int) -> Comparison:
    """The runs that REFs name; of a sweep or another parent run, its children.

    Args:
        refs: none for the latest sweep; `all` for the experiment's runs; else as `resolve` has them.
        tracking: the store to look in; not opened while folders say it all.
        metric: what they are sorted by.
        limit: runs read of an experiment or a parent, the newest ones.

    Raises:
        InputError: a REF names nothing, or there is no run to compare.
    """
    finder = _Finder(tracking, limit)
    references = [finder.sweep()] if not refs else [finder.find(ref) for ref in refs]
    first = references[0]
    sweep = first if first is not None and first.kind == "sweep" and len(references) == 1 else None
    if sweep is not None and sweep.folder is not None and SweepFolder(sweep.folder).exists:
        plan, rows = sweep_rows(sweep.folder)
        keys, title = plan.keys, plan.name
    else:
        rows = _unique([row for reference in references for row in finder.rows(reference)])
        keys = varied_keys(rows) + (["seed"] if len({row.seed for row in rows}) > 1 else [])
        title = _title(references, tracking, len(rows))
    if not rows:
        raise InputError(f"{' '.join(refs) or 'the latest sweep'}: has no runs to compare yet")
    rows = ranked(rows, metric)
    if finder.store is not None:
        rows = ranked(with_histories(finder.store, rows[:DRAWN], metric) + rows[DRAWN:], metric)
    return Comparison(rows, keys, title, sweep)


class _Finder:
    """Looks runs up, in folders first and then in the store, which is opened once and only when needed."""

    def __init__(self, tracking: TrackingConfig, limit: int) -> None:
        self.tracking = tracking
        self.limit = limit
        self.store: Store | None = None

    def sweep(self) -> Reference:
        """The latest sweep: of the store; where it knows none, or there is none, of multirun/."""
        if self.tracking.enabled:
            try:
                return self._resolve("latest", "only")
            except InputError:
                if not _sweep_folders():
                    raise
        for folder in _sweep_folders():
            return Reference(None, folder, folder.name, "sweep")
        raise InputError("no sweep under multirun/ of this folder yet: name runs, or `all`")

    def find(self, ref: str) -> Reference | None:
        """What a REF names; None for the whole experiment."""
        return None if ref.strip() == ALL else self._resolve(ref, "only" if ref.strip() == "latest" else "too")

    def rows(self, reference: Reference | None) -> list[Compared]:
        """The runs behind a reference."""
        if reference is None:
            return whole_experiment(self._opened(), self.limit)
        folder = reference.folder
        if folder is not None and SweepFolder(folder).exists:
            # What differs from the other runs may be more than what was swept: the whole configs.
            return sweep_rows(folder, whole=True)[1]
        if reference.run_id is None or not self.tracking.enabled:
            assert folder is not None
            return [run_row(folder)]
        found = children(self._opened(), reference.run_id, self.limit)
        run = self._opened().run(reference.run_id)
        if found or reference.kind == "sweep":
            return found
        if run is None:  # recorded in another store than this folder's
            assert folder is not None
            return [run_row(folder)]
        return [stored_row(run)]

    def _resolve(self, ref: str, sweeps: Sweeps) -> Reference:
        path = Path(ref).expanduser()
        if self.tracking.enabled and not is_run_folder(path) and not SweepFolder(path).exists:
            self._opened()
        return resolve(ref, self.tracking, sweeps=sweeps, store=self.store)

    def _opened(self) -> Store:
        if self.store is None:
            self.store = Store.open(self.tracking)
        return self.store


def _sweep_folders() -> list[Path]:
    """Those under multirun/, the newest first."""
    plans = sorted(Path("multirun").absolute().glob("*/plan.json"), key=lambda plan: plan.stat().st_mtime)
    return [plan.parent for plan in reversed(plans)]


def _unique(rows: Sequence[Compared]) -> list[Compared]:
    """Each run once, however many REFs name it."""
    found: dict[str, Compared] = {}
    for row in rows:
        found.setdefault(row.run_id or str(row.folder), row)
    return list(found.values())


def _title(references: Sequence[Reference | None], tracking: TrackingConfig, count: int) -> str:
    names = [f"experiment {tracking.experiment}" if each is None else each.name for each in references]
    return ", ".join(names) if len(names) <= 3 and len(set(names)) == len(names) else f"{count} runs"
