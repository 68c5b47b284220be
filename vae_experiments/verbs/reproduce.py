"""vae reproduce: a published table, trained again and set beside what was printed."""

import logging
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from vae_experiments.config.verb import overridden, run_verb
from vae_experiments.errors import InputError, RunFailed
from vae_experiments.files import write_atomically
from vae_experiments.reproduction.published import PublishedTable
from vae_experiments.tracking.config import TrackingConfig

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
        force: continue a sweep although the program has changed since it was planned.
        tracking: the store to record in.
    """

    table: PublishedTable | None = None
    name: str | None = None
    quick: bool = False
    train: bool = True
    folder: str | None = None
    force: bool = False
    tracking: TrackingConfig = field(default_factory=TrackingConfig)

    @property
    def sweep(self) -> Path:
        """Where the runs are, or will be."""
        return Path(self.folder or Path("multirun") / f"{self.name}{'-quick' if self.quick else ''}")


def main(arguments: Sequence[str]) -> None:
    """Runs the verb; see `vae reproduce --help`."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    words, for_sweep = arguments[:end], arguments[end + 1 :]
    asked: list[ReproduceConfig] = []
    run_verb("reproduce", _words(words), ReproduceConfig, asked.append)
    for config in asked:  # only now: the sweep is composed by Hydra too, which composes one thing at a time
        reproduce(config, [*_config_dir(words), *for_sweep])


def reproduce(config: ReproduceConfig, for_sweep: Sequence[str] = ()) -> None:
    """Trains what the table needs, or what is left of it, evaluates it, and writes ours beside the published values.

    Args:
        config: the verb's.
        for_sweep: more words for `vae train -m`, such as sweep.jobs=1.

    Raises:
        InputError: a bad table, or a folder that holds another sweep.
        RunFailed: runs failed; the table shows the others.
        Interrupted: a signal; the same command goes on.
    """
    if config.table is None:
        raise InputError("table: must be named, as in: vae reproduce svae-table; vae reproduce --help lists them")
    failed: RunFailed | None = None
    if config.train:
        try:
            _train(config, config.table, for_sweep)
        except RunFailed as error:
            failed = error
    _evaluate(config, config.table)
    _report(config, config.table)
    if failed is not None:
        raise failed


def _words(arguments: Sequence[str]) -> list[str]:
    """The table's bare name as table=<name>, and --quick as quick=true."""
    words = ["quick=true" if word == "--quick" else word for word in arguments]
    if words and not words[0].startswith("-") and overridden(words[0]) is None:
        words[0] = f"table={words[0]}"
    return words


def _config_dir(arguments: Sequence[str]) -> list[str]:
    """The flag that names a folder of one's own choices, where it was given: the table's experiment may be there."""
    for flag, value in pairwise(arguments):
        if flag in ("-cd", "--config-dir"):
            return [flag, value]
    return [word for word in arguments if word.startswith("--config-dir=")]


def _train(config: ReproduceConfig, table: PublishedTable, for_sweep: Sequence[str]) -> None:
    """An ordinary sweep in a folder of its own: begun, or continued where it is."""
    from vae_experiments.reproduction.measured import refuse_another
    from vae_experiments.runs.sweep_folder import SweepFolder
    from vae_experiments.verbs.resume import ResumeConfig, resume
    from vae_experiments.verbs.train import main as train

    folder = SweepFolder(config.sweep)
    if folder.exists:
        refuse_another(table, folder.plan(), config.sweep)
        if for_sweep:
            log.warning("%s is there already: %s is not used", config.sweep, shlex.join(for_sweep))
        resume(ResumeConfig(run=str(config.sweep), force=config.force, tracking=config.tracking))
        return
    swept = [f"{key}={','.join(map(str, values))}" for key, values in table.sweep.items()]
    quick = table.quick if config.quick else []
    folder_of_it = f"hydra.sweep.dir={config.sweep}"
    train(
        ["-m", f"experiment={table.experiment}", *swept, *quick, *_tracking(config.tracking), folder_of_it, *for_sweep]
    )


def _tracking(tracking: TrackingConfig) -> list[str]:
    """Overrides that make a run's tracking section this one, as far as it is not the default."""
    default = TrackingConfig()
    return [f"tracking.{key}={value}" for key, value in vars(tracking).items() if value != getattr(default, key)]


def _evaluate(config: ReproduceConfig, table: PublishedTable) -> None:
    """What a run lacks: one that was trained without, killed in the middle of its evaluation, or is not finished."""
    from vae_experiments.comparison.folders import sweep_rows
    from vae_experiments.reproduction.measured import evaluation_of
    from vae_experiments.runs.config import RunConfig
    from vae_experiments.runs.folder import RunFolder
    from vae_experiments.verbs.evaluate import EvaluateConfig, evaluate

    wanted = {line.metric for line in table.lines if line.metric.startswith("test/")}
    for row in sweep_rows(config.sweep)[1]:
        assert row.folder is not None
        if row.best_epoch is not None and not wanted <= evaluation_of(row.folder, "test").keys():
            log.info("evaluating %s", row.name)
            how = RunConfig.of(RunFolder(row.folder).config()).evaluation
            evaluate(EvaluateConfig(run=str(row.folder), evaluation=how, tracking=config.tracking))


def _report(config: ReproduceConfig, table: PublishedTable) -> None:
    from vae_experiments.comparison.screen import show
    from vae_experiments.reproduction.measured import results
    from vae_experiments.reproduction.page import beside, markdown, verdict
    from vae_experiments.runs.sweep_folder import SweepFolder

    folder = SweepFolder(config.sweep)
    found = results(table, config.sweep)
    page = markdown(
        table,
        found,
        command=f"vae reproduce {config.name}" + (" --quick" if config.quick else ""),
        trained=shlex.join(word for word in folder.plan().command if not word.startswith("hydra.")),
        quick=config.quick,
    )
    paths = [folder.path / "published.md"]
    if DOCS.is_dir() and not config.quick:
        paths.append(DOCS / "tables" / f"{config.name}.md")
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
