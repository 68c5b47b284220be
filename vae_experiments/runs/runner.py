"""Runs one run, from its composed config to its last picture."""

import logging
import signal
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import torch

from vae_experiments.console import log_to_file
from vae_experiments.data.prepare import prepare
from vae_experiments.errors import InputError, Interrupted, RunFailed
from vae_experiments.models.build import build_vae
from vae_experiments.models.likelihoods import Bernoulli
from vae_experiments.runs.config import RunConfig
from vae_experiments.runs.folder import RunFolder, RunInfo
from vae_experiments.runs.lock import RunLock
from vae_experiments.runs.signature import signature
from vae_experiments.tracking.journal import is_tracked
from vae_experiments.tracking.null import NullTracker
from vae_experiments.training.checkpoints import BEST, load_checkpoint, load_latest
from vae_experiments.training.hardware import choose, keep_freed_memory, make_repeatable
from vae_experiments.training.loop import fit
from vae_experiments.training.optimization import build_optimizer, build_scheduler
from vae_experiments.training.randomness import stream
from vae_experiments.training.run import TrainingRun
from vae_experiments.training.state import TrainingState
from vae_experiments.training.world import World, join_world, leave_world

log = logging.getLogger(__name__)


def start(config: dict[str, Any], path: Path) -> TrainingRun:
    """Trains a new run in the folder `path`; returns it finished.

    Args:
        config: the composed config, plain containers.
        path: an empty or new folder.

    Raises:
        InputError: the config or the data is wrong; nothing was started.
        RunFailed: it was started and failed; status FAILED, traceback on record.
        Interrupted: a signal; status KILLED, checkpoint written.
    """
    return _train(RunConfig.of(config), config, RunFolder(path), resumed=False, force=False)


def resume(path: Path, *, trusted: Sequence[str] | None = None, force: bool = False) -> TrainingRun:
    """Continues the run in the folder `path` from its newest whole checkpoint, in the same MLflow run.

    Args:
        path: a run's folder.
        trusted: packages whose classes its config may name.
        force: also when config, data or code are not those it was started with.
    """
    folder = RunFolder(path)
    config = folder.config()
    return _train(RunConfig.of(config, trusted), config, folder, resumed=True, force=force)


def _train(config: RunConfig, plain: dict[str, Any], folder: RunFolder, *, resumed: bool, force: bool) -> TrainingRun:
    with ExitStack() as stack:
        world = join_world()
        stack.callback(leave_world)
        if world.is_first:
            folder.path.mkdir(parents=True, exist_ok=True)
            stack.enter_context(RunLock(folder.path))
            stack.enter_context(log_to_file(folder.path / "run.log"))
        run = _assemble(config, plain, folder, world)
        if resumed:
            _restore(run, folder, force=force)
        elif world.is_first:
            folder.write_config(plain)
        if world.is_first:
            folder.write_info(RunInfo(run.name, run.identity["signature"], "RUNNING"))
        stack.enter_context(_signals(run))
        _see_through(run, config, folder)
        return run


def _assemble(config: RunConfig, plain: dict[str, Any], folder: RunFolder, world: World) -> TrainingRun:
    """Data, model and optimizer of a run at its very beginning."""
    hardware = choose(config.trainer)
    make_repeatable(config.trainer, hardware)
    keep_freed_memory()
    data = prepare(config.dataset, config.seed)
    torch.manual_seed(config.seed)
    vae = build_vae(
        config.architecture, config.posterior, config.prior, config.likelihood, data.dataset.image_shape
    ).to(hardware.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = build_optimizer(config.optimizer, vae)
    run = TrainingRun(
        name=config.name or f"{data.dataset.name}-{type(config.architecture).__name__.lower()}-d{vae.latent_dim}",
        seed=config.seed,
        batch_size=config.architecture.batch_size,
        objective=config.objective,
        trainer=config.trainer,
        hooks=[hook for hook in config.hooks.values() if hook is not None] if world.is_first else [],
        data=data,
        state=TrainingState(vae, optimizer, None, stream(config.seed, "training", hardware.device)),
        hardware=hardware,
        world=world,
        folder=folder.path,
        record=NullTracker(),
        identity={
            "config": plain,
            "signature": signature(plain, data.dataset.digest),
            "image_shape": list(data.dataset.image_shape),
        },
    )
    epochs = config.trainer.max_epochs
    run.state.scheduler = build_scheduler(
        config.scheduler, optimizer,
        interval=config.trainer.scheduler_interval, steps=epochs * run.steps_per_epoch, epochs=epochs,
    )  # fmt: skip
    _say_what_runs(run)
    return run


def _say_what_runs(run: TrainingRun) -> None:
    if not run.world.is_first:
        return
    dataset, parts, vae = run.data.dataset, run.data.parts, run.state.vae
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in (("all", vae), ("decoder", vae.decoder))}
    log.info(
        "%s: %s images to train on, %s to validate, %s kept for testing",
        dataset.name, *(f"{len(rows):,}" for rows in (parts.train, parts.val, parts.test)),
    )  # fmt: skip
    log.info("model: %s parameters, %s of them the decoder's", *(f"{count[name]:,}" for name in ("all", "decoder")))
    log.info("device: %s, %d threads", run.hardware, torch.get_num_threads())
    if run.world.size > 1:
        log.info("data-parallel: %d processes, one batch of %d between them", run.world.size, run.batch_size)


def _restore(run: TrainingRun, folder: RunFolder, *, force: bool) -> None:
    info = folder.info()
    if info.signature != run.identity["signature"] and not force:
        raise InputError(
            f"{folder.path}: its config, its data or this program has changed since it was started, so it cannot "
            "be continued to the same numbers; start a new run, or continue all the same with force=true"
        )
    content = load_latest(folder.checkpoints)
    if content is None:
        log.info("no checkpoint yet: starting from the first step")
        return
    run.state.load_state_dict(content["state"])
    log.info("continuing after epoch %d, step %d", run.state.epoch, run.state.step)


def _start_record(run: TrainingRun, config: RunConfig, folder: RunFolder) -> None:
    if config.tracking.enabled:
        from vae_experiments.tracking.tracker import Tracker  # MLflow takes seconds to import

        if is_tracked(folder.path):
            tracker = Tracker.resume(config.tracking, folder=folder.path)
        else:  # new, or killed before its record began
            tags = _tags(run, config)
            tracker = Tracker.start(config.tracking, run_name=run.name, folder=folder.path, tags=tags)
        tracker.log_config(run.identity["config"], folder.path / "config.yaml")
        tracker.log_dataset(run.data)
        run.record = tracker


def _tags(run: TrainingRun, config: RunConfig) -> dict[str, str]:
    """What a figure of this run must be read with."""
    tags = {
        "binarization": run.data.binarization,
        "split": type(config.dataset.split).__name__.lower(),
        "likelihood": type(config.likelihood).__name__.lower(),
        "signature": run.identity["signature"],
    }
    if isinstance(config.likelihood, Bernoulli) and run.data.binarization == "none":
        tags["bound"] = "grey images under a Bernoulli likelihood: a loss, not a log-likelihood"
        log.info("note: %s; dataset.binarization=dynamic makes it one", tags["bound"])
    return tags


def _see_through(run: TrainingRun, config: RunConfig, folder: RunFolder) -> None:
    """Records, trains, finishes, and leaves an honest status however that ends."""
    status: Literal["FINISHED", "FAILED", "KILLED"] = "FAILED"
    try:
        if run.world.is_first:
            _start_record(run, config, folder)
        fit(run)
        if run.world.is_first:
            _finish(run, folder)
        status = "FINISHED"
    except (Interrupted, KeyboardInterrupt):
        status = "KILLED"
        log.warning("stopped by a signal; continue with: vae resume %s", folder.path)
        raise
    except (InputError, RunFailed):
        raise
    except Exception as error:
        (folder.path / "traceback.txt").write_text(traceback.format_exc())
        log.exception("run failed")
        run.record.log_artifact(folder.path / "traceback.txt")
        raise RunFailed(f"{type(error).__name__}: {error}; the traceback is in {folder.path / 'run.log'}") from error
    finally:
        for hook in run.hooks:
            hook.on_close(run)
        if run.world.is_first:
            folder.set_status(status)
            run.record.finish(status)


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


@contextmanager
def _signals(run: TrainingRun) -> Iterator[None]:
    """Ctrl-C and SIGTERM ask the loop to save and leave; a second one does not wait for it."""

    def ask(signum: int, frame: FrameType | None) -> None:
        if run.signum:
            raise KeyboardInterrupt
        run.signum = signum

    before = {signum: signal.signal(signum, ask) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
