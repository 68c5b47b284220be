"""Hooks of the trainer's own: checkpoints, early stopping, forensics."""

import json
import logging
import time
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge
from torch import nn

from vae_experiments.data.batches import Batch
from vae_experiments.training.checkpoints import save_checkpoint
from vae_experiments.training.run import Hook, TrainingRun

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Checkpoint(Hook):
    """Saves the run after every epoch, on a signal, and in between by the clock.

    Args:
        every_seconds: between two checkpoints within an epoch; what a SIGKILL can cost.
    """

    every_seconds: Annotated[float, Ge(0)] = 30.0

    def on_start(self, run: TrainingRun) -> None:
        self._saved = time.monotonic()

    def on_step(self, run: TrainingRun) -> None:
        # The last step of an epoch is saved with its validation, a moment later.
        if time.monotonic() - self._saved >= self.every_seconds and run.state.batch < run.steps_of_epoch:
            self._save(run)

    def on_epoch_end(self, run: TrainingRun) -> None:
        self._save(run, best=run.state.best_epoch == run.state.epoch)

    def on_interrupt(self, run: TrainingRun) -> None:
        self._save(run)

    def _save(self, run: TrainingRun, best: bool = False) -> None:
        save_checkpoint(run.folder / "checkpoints", run.checkpoint(), best=best)
        self._saved = time.monotonic()


@dataclass(kw_only=True)
class EarlyStopping(Hook):
    """Stops when the monitored metric has not become better for a while.

    Args:
        patience: epochs without a better value of `trainer.monitor`; None never stops early.
    """

    patience: Annotated[int, Ge(1)] | None = None

    def on_start(self, run: TrainingRun) -> None:
        self._decide(run)  # a run that was killed right after its last epoch must not train another

    def on_epoch_end(self, run: TrainingRun) -> None:
        self._decide(run)

    def _decide(self, run: TrainingRun) -> None:
        state = run.state
        if self.patience is not None and state.epoch - state.best_epoch >= self.patience:
            log.info("no better %s for %d epochs: stopping early", run.trainer.monitor, self.patience)
            run.stop = True


@dataclass(kw_only=True)
class Forensics(Hook):
    """Saves what led to a loss or gradient that is not finite: step, images, noise, and where it began."""

    def on_not_finite(self, run: TrainingRun, batch: Batch, loss: float) -> None:
        folder = run.folder / "not_finite"
        folder.mkdir(exist_ok=True)
        nothing = "none, computed again" if run.world.size == 1 else "none in this process's share of the batch"
        first = first_not_finite(run, batch) or nothing
        report = {
            "step": run.state.step,
            "epoch": run.state.epoch + 1,
            "loss": repr(loss),
            "first_not_finite": first,
            "lr": run.state.optimizer.param_groups[0]["lr"],
        }
        (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n")
        np.savez_compressed(
            folder / "batch.npz", rows=batch.rows, x=batch.x.cpu().numpy(), noise=batch.noise.cpu().numpy()
        )
        save_checkpoint(folder, run.checkpoint())
        log.error(
            "epoch %d, step %d: first tensor that is not finite: %s",
            run.state.epoch + 1,
            run.state.step,
            first,
        )
        log.error("saved in %s; a lower optimizer.lr or trainer.clip_grad_norm=10 may help", folder)
        run.record.set_tags({"not_finite": first})
        for path in sorted(folder.iterdir()):
            run.record.log_artifact(path, "not_finite")


def first_not_finite(run: TrainingRun, batch: Batch) -> str | None:
    """The name of the first tensor, in the order of computation, that holds a NaN or an infinity."""
    vae = run.state.vae
    for name, parameter in vae.named_parameters():
        if not parameter.isfinite().all():
            return f"parameter {name}"
    if not batch.x.isfinite().all():
        return "the images"
    found: list[str] = []

    def watch(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def look(_: nn.Module, __: object, output: object) -> None:
            tensors = (
                output if isinstance(output, tuple) else vars(output).values() if hasattr(output, "__dict__") else ()
            )
            for tensor in (output, *tensors):
                if isinstance(tensor, torch.Tensor) and not tensor.isfinite().all():
                    found.append(f"output of {name} ({type(module).__name__})")

        return module.register_forward_hook(look)

    handles = [watch(name, module) for name, module in vae.named_modules() if name]
    try:
        with run.hardware.autocast():
            terms = run.objective(vae, batch.x, batch.noise, run.progress)
    finally:
        for handle in handles:
            handle.remove()
    found += [f"{name} term" for name, term in terms.named().items() if not term.isfinite().all()]
    if found:
        return found[0]
    return next(
        (f"gradient of {n}" for n, p in vae.named_parameters() if p.grad is not None and not p.grad.isfinite().all()),
        None,
    )
