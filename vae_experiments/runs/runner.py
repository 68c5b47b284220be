"""Runs one run, from its composed config to its last picture."""

import logging
import signal
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import torch

from vae_experiments.console import log_to_file
from vae_experiments.errors import InputError, Interrupted, RunFailed
from vae_experiments.lock import RunLock
from vae_experiments.runs.assemble import assemble
from vae_experiments.runs.closing import closing_lines
from vae_experiments.runs.command import resume_command
from vae_experiments.runs.config import RunConfig
from vae_experiments.runs.folder import RunFolder, RunInfo, Status
from vae_experiments.runs.story import note
from vae_experiments.tracking.address import without_password, without_secrets
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.tracking.journal import is_tracked
from vae_experiments.tracking.null import NullTracker
from vae_experiments.training.checkpoints import BEST, load_checkpoint, load_latest
from vae_experiments.training.loop import fit
from vae_experiments.training.run import Hook, TrainingRun
from vae_experiments.training.world import join_world, leave_world

log = logging.getLogger(__name__)

DESCRIBED_EVERY = 30  # seconds, at least: epochs can be short, and many


def start(config: dict[str, Any], path: Path, command: Sequence[str] | None = None) -> TrainingRun:
    """Trains a new run in the folder `path`; returns it finished.

    Args:
        config: the composed config, plain containers.
        path: a new folder, or one that holds no run.
        command: the overrides that were typed, without a password; None where there were none.

    Raises:
        InputError: the config, the data or the store is wrong; nothing was started.
        RunFailed: it was started and failed; status FAILED, traceback on record.
        Interrupted: a signal; status KILLED, checkpoint written.
    """
    typed, folder = RunConfig.of(config), RunFolder(path)
    plain = without_password(config)
    return _train(typed, plain, folder, typed.tracking, planned=False, force=False, command=command)


def advance(
    path: Path,
    *,
    trusted: Sequence[str] | None = None,
    force: bool = False,
    tracking: TrackingConfig | None = None,
    watchers: Sequence[Hook] = (),
) -> TrainingRun:
    """Takes the run in the folder `path` to its end: from the beginning if its config is only planned there,
    else from its newest whole checkpoint, in the same MLflow run.

    Args:
        path: a folder with a config.yaml.
        trusted: packages whose classes its config may name.
        force: also when config, data, code or arithmetic are not those it was started with.
        tracking: the store where it is now; None where it was.
        watchers: hooks beside those that the config lists.

    Raises:
        InputError: there is nothing here that can be trained.
        RunFailed: as `start`.
        Interrupted: as `start`.
    """
    folder = RunFolder(path)
    config = folder.config()
    typed = RunConfig.of(config, trusted)
    return _train(typed, config, folder, tracking or typed.tracking, planned=True, force=force, watchers=watchers)


def _train(
    config: RunConfig,
    plain: dict[str, Any],
    folder: RunFolder,
    tracking: TrackingConfig,
    *,
    planned: bool,
    force: bool,
    watchers: Sequence[Hook] = (),
    command: Sequence[str] | None = None,
) -> TrainingRun:
    with ExitStack() as stack:
        world = join_world()
        stack.callback(leave_world)
        if world.is_first:
            folder.path.mkdir(parents=True, exist_ok=True)
            stack.enter_context(RunLock(folder.path))
            stack.enter_context(log_to_file(folder.path / "run.log"))
            if not planned:
                folder.refuse_if_used()
                check_store(tracking)
        resumed = world.from_first(world.is_first and folder.begun)
        run = assemble(config, plain, folder, world)
        if resumed:
            _restore(run, folder, force=force)
        if world.is_first:
            run.hooks = [*run.hooks, *watchers, _Description()]
            if not planned:
                folder.write_config(plain)
                if command is not None:
                    folder.write_command(command)
            processes = folder.info().processes if resumed else world.size  # as many give the same numbers again
            folder.write_info(RunInfo(run.name, run.identity["signature"], "RUNNING", processes=processes))
        stack.enter_context(_signals(run))
        _see_through(run, config, folder, tracking)
        return run


def check_store(tracking: TrackingConfig) -> None:
    """Opens the store before anything is begun that it would have to record. Raises InputError if it cannot be used."""
    if tracking.enabled:
        from vae_experiments.tracking.store import Store  # MLflow takes seconds to import

        Store.open(tracking)


def _restore(run: TrainingRun, folder: RunFolder, *, force: bool) -> None:
    """Takes the newest whole checkpoint; refuses one that would not continue to the same numbers."""
    content = load_latest(folder.checkpoints)
    signatures = [folder.info().signature] + ([] if content is None else [content["signature"]])
    if set(signatures) != {run.identity["signature"]} and not force:
        raise InputError(
            f"{folder.path}: its config, its data or the code has changed since it was started, so it cannot be "
            "continued to the same numbers; start a new run, or continue all the same with force=true"
        )
    if content is None:
        log.info("no checkpoint yet: starting from the first step")
        return
    if content["arithmetic"] != run.identity["arithmetic"] and not force:
        raise InputError(
            f"{folder.path}: was started on {content['arithmetic']}, this would be {run.identity['arithmetic']}; "
            "continue all the same, to slightly other numbers, with force=true"
        )
    torch.set_num_threads(content["threads"])
    run.identity["threads"] = content["threads"]
    try:
        run.state.load_state_dict(content["state"])
    except (RuntimeError, TypeError, ValueError, KeyError) as error:
        raise InputError(f"{folder.path}: its checkpoint does not fit its config or this device: {error}") from error
    log.info("continuing after epoch %d, step %d", run.state.epoch, run.state.step)


def _see_through(run: TrainingRun, config: RunConfig, folder: RunFolder, tracking: TrackingConfig) -> None:
    """Records, trains, finishes, and leaves an honest status however that ends."""
    status: Literal["FINISHED", "FAILED", "KILLED"] = "FAILED"
    reason = ""
    with ExitStack() as closing:  # each of these, even when one before it fails
        if run.world.is_first:
            # Last of all the folder's own status: killed just before, the run is unfinished and can be resumed.
            closing.callback(lambda: folder.set_status(status, reason))
            closing.callback(lambda: run.record.finish(status))
            closing.callback(lambda: _describe(run, status, reason))
        for hook in run.hooks:
            closing.callback(hook.on_close, run)
        try:
            if run.world.is_first:
                _start_record(run, config, folder, tracking)
            fit(run)
            if run.world.is_first:
                _finish(run, folder)
            status = "FINISHED"
        except (Interrupted, KeyboardInterrupt):
            status = "KILLED"
            if run.world.is_first:
                again = resume_command(folder.path, run.identity["config"])
                log.warning("stopped by a signal; continue with: %s", again)
                for line in closing_lines(folder.path):
                    log.info("%s", line)
            raise
        except (InputError, RunFailed) as error:
            reason = str(error)
            _record_failure(run, folder)
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            _record_failure(run, folder)
            log.exception("run failed")
            raise RunFailed(f"{type(error).__name__}: {error}; the traceback is in {folder.path}/run.log") from error


def _start_record(run: TrainingRun, config: RunConfig, folder: RunFolder, tracking: TrackingConfig) -> None:
    if not tracking.enabled:
        return
    from vae_experiments.tracking.tracker import Tracker  # MLflow takes seconds to import

    if is_tracked(folder.path):
        tracker = Tracker.resume(tracking, folder=folder.path)
    else:  # new, or killed before its record began
        tracker = Tracker.start(tracking, run_name=run.name, folder=folder.path, tags={})
    tracker.set_tags(_tags(run, config))
    tracker.log_config(run.identity["config"], folder.path / "config.yaml")
    tracker.log_dataset(run.data)
    run.record = tracker
    _describe(run, "RUNNING")


def _describe(run: TrainingRun, status: Status, reason: str = "") -> None:
    """What MLflow shows at the top of the run's page."""
    if isinstance(run.record, NullTracker):
        return
    with suppress(RunFailed):  # a full disk, of which has been told
        said = note(run.folder, run.state.history, status=status, reason=reason, epochs=run.epochs)
        run.record.set_tags(said)


class _Description(Hook):
    """Keeps the run's page current while it trains."""

    due = 0.0

    def on_epoch_end(self, run: TrainingRun) -> None:
        if time.monotonic() >= self.due:
            _describe(run, "RUNNING")
            self.due = time.monotonic() + DESCRIBED_EVERY


def _tags(run: TrainingRun, config: RunConfig) -> dict[str, str]:
    """What a figure of this run must be read with."""
    tags = {
        "binarization": run.data.binarization,
        "split": type(config.dataset.split).__name__.lower(),
        "likelihood": type(config.likelihood).__name__.lower(),
        "signature": run.identity["signature"],
    }
    misfit = config.likelihood.misfit(run.data.pixels)
    if misfit is not None:
        tags["bound"] = misfit
        log.info("note: %s", misfit)
    return tags


def _finish(run: TrainingRun, folder: RunFolder) -> None:
    """Pictures, models and whatever else is made of the best epoch's weights."""
    best = folder.checkpoints / BEST
    if best.exists():
        run.state.vae.load_state_dict(load_checkpoint(best)["state"]["vae"])
    run.state.vae.eval()
    for hook in run.hooks:
        hook.on_end(run)
        if run.signum:
            raise Interrupted(run.signum)


def _record_failure(run: TrainingRun, folder: RunFolder) -> None:
    """The traceback, beside the run and in its record; on a full disk there may be no room even for that."""
    if run.world.is_first:
        with suppress(OSError, RunFailed):
            path = folder.path / "traceback.txt"
            path.write_text(without_secrets(traceback.format_exc()), encoding="utf-8")
            run.record.log_artifact(path)


@contextmanager
def _signals(run: TrainingRun) -> Iterator[None]:
    """Ctrl-C and SIGTERM ask the loop to save and leave; a second one does not wait for it.

    A signal that is ignored stays so: whoever started this process means it for others.
    """

    def ask(signum: int, frame: FrameType | None) -> None:
        if run.signum:
            raise Interrupted(signum)
        run.signum = signum

    asked = [s for s in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(s) is not signal.SIG_IGN]
    before = {signum: signal.signal(signum, ask) for signum in asked}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
