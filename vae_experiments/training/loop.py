"""The training loop."""

import logging
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim.lr_scheduler import ReduceLROnPlateau

from vae_experiments.data.batches import Batch, binarize, epoch_order
from vae_experiments.errors import Interrupted, RunFailed
from vae_experiments.models.layers import LateConv2d
from vae_experiments.models.vae import VAE
from vae_experiments.objectives import Objective, Progress, Terms
from vae_experiments.training.run import TrainingRun
from vae_experiments.training.state import Metrics, Stopwatch
from vae_experiments.training.validation import Validation

log = logging.getLogger(__name__)


def fit(run: TrainingRun) -> None:
    """Trains until `trainer.max_epochs` or `trainer.max_steps`, or until a hook says stop.

    Raises:
        Interrupted: after a signal, once the hooks have saved what is to be saved.
        RunFailed: when a loss or a gradient is not finite; that update is not made.
    """
    step = StepModule(run.state.vae, run.objective)
    module = step if run.world.size == 1 else parallel(step)
    validation = Validation(run)
    for hook in run.hooks:
        hook.on_start(run)
    run.stop = run.world.from_first(run.stop)
    while not run.done:
        train_epoch(run, module)
        end_epoch(run, validation.measure())
        for hook in run.hooks:
            hook.on_epoch_end(run)
        run.stop = run.world.from_first(run.stop)


class StepModule(nn.Module):
    """The objective on a model as one module, which is what DistributedDataParallel can wrap."""

    def __init__(self, vae: VAE, objective: Objective) -> None:
        super().__init__()
        self.vae = vae
        self.objective = objective

    def forward(self, x: Tensor, noise: Tensor, progress: Progress) -> Terms:
        return self.objective(self.vae, x, noise, progress)


def parallel(step: StepModule) -> DistributedDataParallel:
    """The same on several processes, with their gradients averaged."""
    return DistributedDataParallel(step, find_unused_parameters=any(isinstance(m, LateConv2d) for m in step.modules()))


def train_epoch(run: TrainingRun, module: nn.Module) -> None:
    """Trains the epoch under way from its first batch, or from where a checkpoint left it."""
    state = run.state
    state.vae.train()
    order = epoch_order(run.data.parts.train, run.seed, state.epoch)
    watch = Stopwatch()
    while state.batch < run.steps_of_epoch:
        stop = (state.batch + 1) * run.batch_size
        run.images.expect(order[stop : stop + run.batch_size])
        train_step(run, module, order[stop - run.batch_size : stop])
        state.batch += 1
        state.step += 1
        state.seconds += watch.lap()
        for hook in run.hooks:
            hook.on_step(run)
        watch.lap()  # what hooks take is not training
        signum = run.world.most(run.signum)
        if signum:
            for hook in run.hooks:
                hook.on_interrupt(run)
            raise Interrupted(signum)


def train_step(run: TrainingRun, module: nn.Module, rows: NDArray[np.int64]) -> None:
    """One update on the images of `rows`, the batch of all processes together."""
    state, optimizer = run.state, run.state.optimizer
    batch = draw(run, rows)
    with run.hardware.autocast():
        terms: Terms = module(batch.x, batch.noise, run.progress)
    # The mean over the whole batch: DistributedDataParallel averages over processes, whatever their shares.
    loss = terms.loss.sum() * (run.world.size / len(rows))
    optimizer.zero_grad(set_to_none=True)
    loss.backward()

    parameters = [p for p in state.vae.parameters() if p.grad is not None]
    grad_norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
    if run.world.most(not math.isfinite(loss.item()) or not math.isfinite(grad_norm.item())):
        for hook in run.hooks:
            hook.on_not_finite(run, batch, loss.item())
        raise RunFailed(f"loss {loss.item():g}, gradient norm {grad_norm.item():g} at step {state.step}")
    if run.trainer.clip_grad_norm is not None:
        clip_grads_with_norm_(parameters, run.trainer.clip_grad_norm, grad_norm)
    optimizer.step()
    if run.trainer.scheduler_interval == "step":
        advance_scheduler(run)

    # Moved before they are made double, which not every accelerator knows. Summed over the processes here and
    # not at the epoch's end: a checkpoint in between is written by one of them and must hold the whole.
    sums = torch.stack([term.detach().sum() for term in terms.named().values()]).cpu().double()
    state.sums += torch.stack([*run.world.sum(sums), grad_norm.cpu().double()])
    state.images += len(rows)


def draw(run: TrainingRun, rows: NDArray[np.int64]) -> Batch:
    """This process's share of a batch. The noise is drawn for all of it, so that shares add up to the whole."""
    share = run.world.share(len(rows))
    noise = run.objective.noise(run.state.vae, len(rows), run.state.generator)[share]
    x = run.images(rows[share])
    if run.data.binarization == "dynamic":
        shape = (len(rows), *x.shape[1:])
        x = binarize(x, torch.rand(shape, generator=run.state.generator, device=x.device)[share])
    return Batch(rows[share], x, noise)


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
