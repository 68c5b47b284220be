"""vae resume: continue an interrupted run."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vae_experiments.config.verb import ref_first, run_verb
from vae_experiments.errors import InputError
from vae_experiments.tracking.config import TrackingConfig

if TYPE_CHECKING:
    from vae_experiments.runs.folder import RunFolder

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ResumeConfig:
    """The keys of conf/resume.yaml.

    Args:
        run: REF of the run; None for the latest unfinished one under outputs/ and multirun/.
        trust: packages, besides this one and torch.optim, whose classes the stored config may name.
        force: continue even though config, data or code have changed.
        tracking: the store to find the run in; it is recorded in the store it began in.
    """

    run: str | None = None
    trust: list[str] = field(default_factory=list)
    force: bool = False
    tracking: TrackingConfig = field(default_factory=TrackingConfig)


def main(arguments: Sequence[str]) -> None:
    """Runs the verb; see `vae resume --help`."""
    run_verb("resume", ref_first(arguments), ResumeConfig, resume)


def resume(config: ResumeConfig) -> None:
    """Continues a run to its end, in its own folder and MLflow run."""
    from vae_experiments.config.construct import TRUSTED
    from vae_experiments.runs.folder import RunFolder
    from vae_experiments.runs.runner import resume as resume_run
    from vae_experiments.verbs.train import say_where

    folder = RunFolder(_find(config.run, config.tracking))
    if folder.info().status == "FINISHED":
        log.info("%s is finished", folder.path)
        _deliver(folder)
        return
    log.info("resuming %s", folder.path)
    say_where(resume_run(folder.path, trusted=(*TRUSTED, *config.trust), force=config.force))


def _find(ref: str | None, tracking: TrackingConfig) -> Path:
    from vae_experiments.runs.folder import unfinished_folders
    from vae_experiments.runs.reference import find_folder

    if ref is not None:
        return find_folder(ref, tracking, unfinished=True)
    for root in (Path("outputs"), Path("multirun")):
        for folder in unfinished_folders(root):
            return folder.path
    raise InputError("no unfinished run under outputs/ or multirun/ of this folder; name one: vae resume REF")


def _deliver(folder: "RunFolder") -> None:
    """Sends to MLflow what could not be sent while the run went on."""
    from vae_experiments.tracking.tracker import Tracker

    tracking = TrackingConfig(**{k: v for k, v in folder.config()["tracking"].items() if k != "_target_"})
    if tracking.enabled:
        Tracker.deliver(tracking, folder=folder.path)
