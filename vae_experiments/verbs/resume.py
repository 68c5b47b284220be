"""vae resume: continue an interrupted run or sweep."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vae_experiments.config.verb import overridden, ref_first, run_verb
from vae_experiments.errors import InputError
from vae_experiments.tracking.config import TrackingConfig

if TYPE_CHECKING:
    from vae_experiments.runs.sweep_folder import SweepFolder

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ResumeConfig:
    """The keys of conf/resume.yaml.

    Args:
        run: REF of the run or sweep; None for the latest unfinished one under outputs/ and multirun/, where
            those that were killed come before those that failed.
        trust: packages, besides this one and torch.optim, whose classes the stored config may name.
        force: continue even though config, data or code have changed.
        tracking: the store to find the run in. What is given of it here is where the run is recorded from
            now on, such as a server that has moved; the rest is as the run has it.
    """

    run: str | None = None
    trust: list[str] = field(default_factory=list)
    force: bool = False
    tracking: TrackingConfig = field(default_factory=TrackingConfig)


def main(arguments: Sequence[str]) -> None:
    """Runs the verb; see `vae resume --help`."""
    words = ref_first(arguments, ResumeConfig)
    given = given_tracking(words)
    run_verb("resume", words, ResumeConfig, lambda config: resume(config, given))


def resume(config: ResumeConfig, given: Sequence[str] = ()) -> None:
    """Continues a run, or the jobs of a sweep, to the end, in their own folders and MLflow runs.

    Args:
        config: the verb's.
        given: keys of `config.tracking` that were asked for, and win over the run's own.
    """
    from vae_experiments.runs.sweep_folder import SweepFolder

    path = _find(config.run, config.tracking)
    if SweepFolder(path).exists:
        _resume_sweep(SweepFolder(path), config, given)
    else:
        _resume_run(path, config, given)


def _resume_run(path: Path, config: ResumeConfig, given: Sequence[str]) -> None:
    from vae_experiments.config.construct import TRUSTED
    from vae_experiments.runs.folder import RunFolder
    from vae_experiments.runs.post_mortem import deliver
    from vae_experiments.runs.runner import advance
    from vae_experiments.runs.sweep_folder import SweepFolder
    from vae_experiments.sweeps.progress import ProgressFile
    from vae_experiments.verbs.train import say_where

    folder = RunFolder(path)
    tracking = _tracking(folder.config().get("tracking"), config.tracking, given)
    if folder.begun and folder.info().status == "FINISHED":
        log.info("%s is finished", folder.path)
        if tracking.enabled and deliver(folder.path, tracking):
            log.info("its record in MLflow is complete")
        return
    log.info("resuming %s", folder.path)
    trusted = (*TRUSTED, *config.trust)
    watchers = [ProgressFile()] if SweepFolder(path.parent).exists else []  # a job: its sweep reads that
    store = tracking if given else None
    say_where(advance(folder.path, trusted=trusted, force=config.force, tracking=store, watchers=watchers))


def _resume_sweep(folder: "SweepFolder", config: ResumeConfig, given: Sequence[str]) -> None:
    from vae_experiments.config.construct import TRUSTED
    from vae_experiments.runs.post_mortem import deliver
    from vae_experiments.sweeps.resume import resume_sweep
    from vae_experiments.sweeps.run import Terms

    plan = folder.plan()
    tracking = _tracking(plan.tracking, config.tracking, given)
    if folder.status() == "FINISHED":
        log.info("%s is finished", folder.path)
        for path in (folder.path, *(folder.job(job).path for job in plan.jobs)):
            deliver(path, tracking)
        return
    terms = Terms(tracking, moved=bool(given), trusted=(*TRUSTED, *config.trust), force=config.force)
    resume_sweep(folder, terms)


def _find(ref: str | None, tracking: TrackingConfig) -> Path:
    from vae_experiments.runs.folder import unfinished_folders
    from vae_experiments.runs.reference import find_folder
    from vae_experiments.runs.sweep_folder import SweepFolder

    if ref is not None:
        found = find_folder(ref, tracking, unfinished=True, sweeps="too")
        # The latest run may be a job: then its sweep is what was interrupted.
        return found.parent if ref == "latest" and SweepFolder(found.parent).exists else found
    for folder in unfinished_folders(Path("outputs"), Path("multirun")):
        return folder.path
    raise InputError("no unfinished run under outputs/ or multirun/ of this folder; name one: vae resume REF")


def given_tracking(words: Sequence[str]) -> list[str]:
    """Keys of the tracking section that overrides set; all of them where one chooses the section whole."""
    names = [each.name for each in fields(TrackingConfig)]
    typed = [word.partition("=")[0].partition(".")[2] for word in words if overridden(word) == "tracking"]
    return names if "" in typed else [name for name in names if name in typed]


def _tracking(section: object, asked: TrackingConfig, given: Sequence[str]) -> TrackingConfig:
    """The run's own, but for what was given."""
    from vae_experiments.config.construct import construct

    stored = {key: value for key, value in section.items() if key != "_target_"} if isinstance(section, dict) else {}
    return replace(construct(TrackingConfig, stored), **{key: getattr(asked, key) for key in given})
