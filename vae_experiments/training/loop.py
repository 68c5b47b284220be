"""The training loop."""

import logging
import math
import time

import numpy as np
import torch
from numpy.typing import NDArray
from torch.optim.lr_scheduler import ReduceLROnPlateau

from vae_experiments import garbage
from vae_experiments.data.batches import epoch_order
from vae_experiments.errors import Interrupted, RunFailed
from vae_experiments.training.captured import CapturedStep
from vae_experiments.training.run import TrainingRun
from vae_experiments.training.state import Metrics, Stopwatch
from vae_experiments.training.step import Step
from vae_experiments.training.validation import Validation

log = logging.getLogger(__name__)


def fit(run: TrainingRun) -> None:
    """Trains until `trainer.max_epochs` or `trainer.max_steps`, or until a hook says stop.

    Raises:
        Interrupted: after a signal, once the hooks have saved what is to be saved.
        RunFailed: when a loss or a gradient is not finite; that update is not made.
    """
    garbage.as_usual()
    validation = Validation(run)
    for hook in run.hooks:
        hook.on_start(run)
    run.stop = run.world.from_first(run.stop)
    if run.teacher is not None and run.teacher.is_needed(run.progress):
        train_teacher(run, run.teacher.run)
    step = build_step(run)
    while not run.done:
        train_epoch(run, step)
        end_epoch(run, validation.measure())
        for hook in run.hooks:
            hook.on_epoch_end(run)
        run.stop = run.world.from_first(run.stop)


def train_teacher(run: TrainingRun, taught: TrainingRun) -> None:
    """Trains the small network of a run, which keeps no records; also on resuming, to the same numbers."""
    begun = time.perf_counter()
    taught.images = run.images  # once on the device
    step = build_step(taught)
    try:
        while not taught.done:
            train_epoch(taught, step)
            taught.state.end_epoch({})
            leave_if_signalled(run)
    except RunFailed as error:
        raise RunFailed(f"teacher: {error}; lower teacher.optimizer.lr, or do without it (teacher=none)") from error
    taught.state.vae.eval()
    log.info("teacher: %s steps of a small network, %.1f s", f"{taught.steps:,}", time.perf_counter() - begun)


def build_step(run: TrainingRun) -> Step:
    """What makes this run's steps. Several processes' gradients meet in ways that no graph holds."""
    captured = run.trainer.cuda_graphs and run.hardware.device.type == "cuda" and run.world.size == 1
    return CapturedStep(run) if captured else Step(run)


def train_epoch(run: TrainingRun, step: Step) -> None:
    """Trains the epoch under way from its first batch, or from where a checkpoint left it."""
    state = run.state
    state.vae.train()
    order = epoch_order(run.data.parts.train, run.seed, state.epoch)
    watch = Stopwatch()
    while state.batch < run.steps_of_epoch:
        stop = (state.batch + 1) * run.batch_size
        run.images.expect(order[stop : stop + run.batch_size])
        train_step(run, step, order[stop - run.batch_size : stop])
        state.batch += 1
        state.step += 1
        state.seconds += watch.lap()
        for hook in run.hooks:
            hook.on_step(run)
        watch.lap()  # what hooks take is not training
        leave_if_signalled(run)


def leave_if_signalled(run: TrainingRun) -> None:
    """Raises Interrupted after a signal to any of the processes, once the hooks have saved what is to be saved."""
    signum = run.world.most(run.signum)
    if signum:
        for hook in run.hooks:
            hook.on_interrupt(run)
        raise Interrupted(signum)


def train_step(run: TrainingRun, step: Step, rows: NDArray[np.int64]) -> None:
    """One update on the images of `rows`, the batch of all processes together."""
    state = run.state
    figures = step.gradient(rows)
    loss, grad_norm = figures[0].item() * run.world.size / len(rows), figures[-1].item()
    if run.world.most(not (math.isfinite(loss) and math.isfinite(grad_norm))):
        for hook in run.hooks:
            hook.on_not_finite(run, step.batch, loss)
        raise RunFailed(f"loss {loss:g}, gradient norm {grad_norm:g} at step {state.step}")
    step.update()
    if run.trainer.scheduler_interval == "step":
        advance_scheduler(run)

    # Summed over the processes here and not at the epoch's end: a checkpoint in between is written by one of them and
    # must hold the whole.
    state.sums += torch.cat([run.world.sum(figures[:-1]), figures[-1:]])
    state.images += len(rows)


def end_epoch(run: TrainingRun, validation: Metrics) -> None:
    """Turns the epoch's sums into metrics, keeps the best value, and closes the epoch."""
    state, trainer = run.state, run.trainer
    grad_norm = state.sums[-1].item() / state.batch
    metrics = {
        **run.metrics_of("train", state.sums[:-1] / state.images),
        **validation,
        **{f"objective/{name}": value for name, value in run.objective.scheduled(run.progress).items()},
        "optimizer/lr": state.optimizer.param_groups[0]["lr"],
        "optimizer/grad_norm": grad_norm,
        "time/epoch_seconds": state.seconds,
        "time/images_per_second": state.images / state.seconds,
    }
    value = metrics[trainer.monitor]
    if not math.isfinite(value):
        log.warning(
            "epoch %d: %s is %s, which no later epoch is compared with", state.epoch + 1, trainer.monitor, value
        )
    elif state.best_epoch == 0 or trainer.better(value, state.best_value):
        state.best_epoch, state.best_value = state.epoch + 1, value
    if state.best_epoch > 0:
        best = [*state.history, metrics][state.best_epoch - 1]
        metrics |= {f"best/val_{term}": best[f"val/{term}"] for term in ("elbo", "loss", "reconstruction", "kl")}
        metrics["best/epoch"] = state.best_epoch
    state.end_epoch(metrics)
    if trainer.scheduler_interval == "epoch":
        advance_scheduler(run)


def advance_scheduler(run: TrainingRun) -> None:
    """One step of the learning-rate schedule; the one that watches a metric is given the bound, to be minimised."""
    scheduler = run.state.scheduler
    if isinstance(scheduler, ReduceLROnPlateau):
        scheduler.step(-run.metrics["val/elbo"])
    elif scheduler is not None:
        scheduler.step()
