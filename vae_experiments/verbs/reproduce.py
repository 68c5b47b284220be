"""vae reproduce: a published table, trained again and set beside what was printed."""

import json
import logging
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from vae_experiments.config.hydra_app import FLAGS_WITH_VALUES
from vae_experiments.config.verb import overridden, quote, run_verb
from vae_experiments.errors import InputError, RunFailed
from vae_experiments.files import write_atomically
from vae_experiments.reproduction.published import PublishedTable
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.verbs.resume import ResumeConfig, given_tracking, resume

log = logging.getLogger(__name__)

DOCS = Path("docs")  # of the working directory: in a checkout, the project's own


@dataclass(frozen=True, kw_only=True)
class ReproduceConfig:
    """The keys of conf/reproduce.yaml.

    Args:
        table: what was published, and how to train it; one must be named.
        name: of the table.
        quick: cut it short by the table's own overrides, to see that it works.
        train: False only evaluates and shows what is there, of interrupted runs too.
        folder: of the sweep; None for multirun/<name>, with -quick behind it for a quick one.
        trust: packages of yours whose classes the stored configs may name.
        force: continue a sweep although the program has changed since it was planned.
        tracking: the store to record in.
    """

    table: PublishedTable | None = None
    name: str | None = None
    quick: bool = False
    train: bool = True
    folder: str | None = None
    trust: list[str] = field(default_factory=list)
    force: bool = False
    tracking: TrackingConfig = field(default_factory=TrackingConfig)

    @property
    def sweep(self) -> Path:
        """Where the runs are, or will be."""
        return Path(self.folder or Path("multirun") / f"{self.name}{'-quick' if self.quick else ''}")


def main(arguments: Sequence[str]) -> None:
    """Runs the verb; see `vae reproduce --help`."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    words = _words(arguments[:end])
    asked: list[ReproduceConfig] = []
    run_verb("reproduce", words, ReproduceConfig, asked.append)
    for config in asked:  # only now: the sweep is composed by Hydra too, which composes one thing at a time
        reproduce(config, Typed(arguments, _config_dir(words), arguments[end + 1 :], given_tracking(words)))


@dataclass(frozen=True)
class Typed:
    """What was typed beyond the verb's own keys.

    Args:
        command: all of it.
        flags: of Hydra, that the sweep needs too.
        for_sweep: more words for `vae train -m`, such as sweep.jobs=1.
        tracking: the keys of the tracking section that were set.
    """

    command: Sequence[str] = ()
    flags: Sequence[str] = ()
    for_sweep: Sequence[str] = ()
    tracking: Sequence[str] = ()


def reproduce(config: ReproduceConfig, typed: Typed) -> None:
    """Trains what the table needs, or what is left of it, evaluates it, and writes ours beside the published values.

    Raises:
        InputError: a bad table, or a folder that holds another sweep.
        RunFailed: runs failed; the table shows the others.
        Interrupted: a signal; the same command goes on.
    """
    from vae_experiments.reproduction.measured import refuse_another
    from vae_experiments.runs.sweep_folder import SweepFolder

    if config.table is None:
        raise InputError("table: must be named, as in: vae reproduce svae-table; vae reproduce --help lists them")
    folder = SweepFolder(config.sweep)
    if folder.exists or not config.train:
        refuse_another(config.table, folder.plan(), config.sweep, quick=config.quick)
    failed: RunFailed | None = None
    if config.train:
        try:
            _train(config, config.table, typed)
        except RunFailed as error:
            failed = error
    _evaluate(config, config.table)
    _report(config, config.table, typed)
    if failed is not None:
        raise failed


def _words(arguments: Sequence[str]) -> list[str]:
    """The first bare word as table=<name>, and --quick as quick=true."""
    words: list[str] = []
    named = False
    for word in arguments:
        is_bare = not word.startswith("-") and overridden(word) is None
        if is_bare and not named and not (words and words[-1] in FLAGS_WITH_VALUES):
            named = True
            words.append(f"table={word}")
        else:
            words.append("quick=true" if word == "--quick" else word)
    return words


def _config_dir(arguments: Sequence[str]) -> list[str]:
    """The flag that names a folder of one's own choices, where it was given: the table's experiment may be there."""
    for flag, value in pairwise(arguments):
        if flag in ("-cd", "--config-dir"):
            return [flag, value]
    return [word for word in arguments if word.startswith("--config-dir=")]


def _train(config: ReproduceConfig, table: PublishedTable, typed: Typed) -> None:
    """An ordinary sweep in a folder of its own: begun, or continued where it is."""
    from vae_experiments.runs.sweep_folder import SweepFolder
    from vae_experiments.verbs.train import main as train

    if SweepFolder(config.sweep).exists:
        if typed.for_sweep:
            log.warning("%s is there already: %s is not used", config.sweep, shlex.join(typed.for_sweep))
        again = ResumeConfig(run=str(config.sweep), trust=config.trust, force=config.force, tracking=config.tracking)
        resume(again, typed.tracking)
        return
    swept = [f"{key}={','.join(map(_as_typed, values))}" for key, values in table.sweep.items()]
    store = [f"tracking.{key}={_as_typed(getattr(config.tracking, key))}" for key in typed.tracking]
    rest = [*(table.quick if config.quick else []), *store, f"hydra.sweep.dir={quote(str(config.sweep))}"]
    train([*typed.flags, "-m", f"experiment={table.experiment}", *swept, *rest, *typed.for_sweep])


def _as_typed(value: object) -> str:
    """A value as Hydra reads it."""
    return quote(value) if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _evaluate(config: ReproduceConfig, table: PublishedTable) -> None:
    """What a run lacks: one that was trained without, killed in the middle of its evaluation, or is not finished."""
    from vae_experiments.comparison.folders import sweep_rows
    from vae_experiments.reproduction.measured import evaluation_config, evaluation_of
    from vae_experiments.verbs.evaluate import EvaluateConfig, evaluate

    if not any(line.metric.startswith("test/") for line in table.lines):
        return
    for row in sweep_rows(config.sweep)[1]:
        assert row.folder is not None
        if row.best_epoch is not None and not evaluation_of(row.folder):
            log.info("evaluating %s", row.name)
            how = evaluation_config(row.folder)
            evaluate(EvaluateConfig(run=str(row.folder), trust=config.trust, evaluation=how, tracking=config.tracking))


def _report(config: ReproduceConfig, table: PublishedTable, typed: Typed) -> None:
    from vae_experiments.comparison.screen import show
    from vae_experiments.reproduction.measured import departures, results
    from vae_experiments.reproduction.page import beside, markdown, verdict
    from vae_experiments.runs.sweep_folder import SweepFolder

    folder = SweepFolder(config.sweep)
    plan, found = folder.plan(), results(table, config.sweep)
    against = departures(table, plan)
    page = markdown(
        table,
        found,
        command=shlex.join(["vae", "reproduce", *typed.command]),
        trained=shlex.join(word for word in plan.command if not word.startswith("hydra.")),
        quick=config.quick,
        departures=against,
    )
    paths = [folder.path / "published.md"]
    in_docs = DOCS / "tables" / f"{config.name}.md"
    whole = not found.unfinished and not against
    if DOCS.is_dir() and not config.quick and (whole or not in_docs.exists()):
        paths.append(in_docs)
    for path in paths:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, [page.encode()])
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror})") from error
    shown = beside(table, found)
    show(shown, len(shown), table.title)
    for line in verdict(table, found):
        log.info("%s", line)
    for path in paths:
        log.info("%s", os.path.relpath(path))
