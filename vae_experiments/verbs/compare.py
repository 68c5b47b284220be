"""vae compare: a sweep's or several runs' table and pictures."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Le

from vae_experiments.config.suggest import did_you_mean
from vae_experiments.config.verb import overridden, quote, run_verb
from vae_experiments.errors import InputError
from vae_experiments.tracking.config import TrackingConfig

if TYPE_CHECKING:
    from vae_experiments.comparison.gather import Comparison

log = logging.getLogger(__name__)

ON_SCREEN = 50  # rows; the files have them all


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """The keys of conf/compare.yaml.

    Args:
        runs: REFs of sweeps and runs; none for the latest sweep, "all" for the whole experiment.
        out: folder for the files; None for comparison/ in the sweep's folder, or else in the working directory.
        metric: what the best run is the best in.
        sheet: draw the contact sheet too, which reads every run's checkpoint.
        limit: runs read of an experiment or of a parent run, the newest ones.
        trust: packages of yours whose classes the stored configs may name.
        tracking: the store to find the runs in, and to add the pictures of a sweep to.
    """

    runs: list[str] = field(default_factory=list)
    out: str | None = None
    metric: str = "val/elbo"
    sheet: bool = True
    limit: Annotated[int, Ge(1), Le(50_000)] = 1000
    trust: list[str] = field(default_factory=list)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)


def main(arguments: Sequence[str]) -> None:
    """Runs the verb; see `vae compare --help`."""
    run_verb("compare", refs_first(arguments), CompareConfig, compare)


def refs_first(arguments: Sequence[str]) -> list[str]:
    """Turns the bare words before the first key or flag into runs=[...]."""
    keys = {"hydra", *CompareConfig.__dataclass_fields__}
    refs: list[str] = []
    rest = list(arguments)
    while rest and not rest[0].startswith("-") and overridden(rest[0]) not in keys:
        refs.append(rest.pop(0))
    return [f"runs=[{','.join(map(quote, refs))}]", *rest] if refs else rest


def compare(config: CompareConfig) -> None:
    """Prints the table, writes the files, and adds them to the sweep's MLflow run.

    Raises:
        InputError: no such run, nothing to compare, or a folder that cannot be written.
    """
    from vae_experiments.comparison.gather import gather
    from vae_experiments.comparison.report import write_report
    from vae_experiments.comparison.rows import without_seed
    from vae_experiments.comparison.screen import show
    from vae_experiments.comparison.table import note, run_table, summary_table

    found = gather(config.runs, config.tracking, metric=config.metric, limit=config.limit)
    known = {name for row in found.rows for name in row.metrics if not name.startswith("best/")}
    if known and all(row.value(config.metric) is None for row in found.rows):
        raise InputError(
            f"metric={config.metric}: none of the runs has it; {did_you_mean(config.metric, sorted(known))}"
        )
    summary = summary_table(found.rows, found.keys, config.metric)
    if summary is not None:
        show(summary, ON_SCREEN, "Mean and standard deviation over seeds")
        print()
    show(run_table(found.rows, found.keys, config.metric), ON_SCREEN, found.title)
    print(note(config.metric), flush=True)
    for row in found.rows:
        if row.reason:
            log.warning("%s: %s", row.name, row.reason)
    if not without_seed(found.keys) and len(found.rows) > 1:
        log.info("the runs do not differ in any setting but the seed")
    folder, busy = _folder(config, found)
    try:
        files = write_report(
            found.rows, found.keys, folder, title=found.title, sheet=config.sheet, metric=config.metric,
            tracking=config.tracking, trust=config.trust,
        )  # fmt: skip
    except OSError as error:
        raise InputError(f"out={folder}: {error.strerror}; choose another folder") from error
    for path in files:
        log.info("%s", path)
    if not busy:
        _attach(found, files, config.tracking)


def _folder(config: CompareConfig, found: "Comparison") -> tuple[Path, bool]:
    """Where the files go, and whether a process is at work on the sweep, which keeps its own up to date."""
    from vae_experiments.lock import is_held

    sweep = None if found.sweep is None else found.sweep.folder
    busy = sweep is not None and is_held(sweep)
    if config.out is not None:
        return Path(config.out), busy
    if sweep is None or busy:
        return Path("comparison"), busy
    return sweep / "comparison", busy


def _attach(found: "Comparison", files: Sequence[Path], tracking: TrackingConfig) -> None:
    """Adds the files to the sweep's MLflow run; that it cannot be done is worth a line, no more."""
    if found.sweep is None or found.sweep.run_id is None or not tracking.enabled:
        return
    from vae_experiments.runs.stored import store_of

    run_id = found.sweep.run_id
    try:
        store = store_of(found.sweep, tracking)
        run = None if store is None else store.run(run_id)
        if store is None or run is None or run.status == "RUNNING":  # elsewhere, where it attaches its own
            return
        for path in files:
            store.add_artifact(run_id, path, "comparison")
    except InputError as error:
        log.warning("the files are not in MLflow: %s", error)
