"""Optimizers and learning-rate schedules: PyTorch's own, told what only the run knows."""

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from vae_experiments.errors import InputError
from vae_experiments.training.adam import Adam

RUN = "run"  # a schedule's argument with this value becomes the run's length


def build_optimizer(component: Callable[..., Optimizer], vae: nn.Module, kernels: bool = True) -> Optimizer:
    """The configured optimizer over the parameters that train; `kernels` of our own are Adam's to take."""
    optimizer = component(params=[p for p in vae.parameters() if p.requires_grad])
    if not isinstance(optimizer, Optimizer):
        raise InputError(f"optimizer: {type(optimizer).__name__} is not a torch.optim.Optimizer")
    if inspect.signature(optimizer.step).parameters["closure"].default is inspect.Parameter.empty:
        raise InputError(f"optimizer: {type(optimizer).__name__} evaluates the loss several times a step; use another")
    if isinstance(optimizer, Adam):
        optimizer.compiled = kernels
    return optimizer


def build_scheduler(
    component: Callable[..., LRScheduler] | None,
    optimizer: Optimizer,
    *,
    interval: str,
    steps: int,
    epochs: int,
) -> LRScheduler | None:
    """The configured schedule, over a run of that many steps and epochs, whichever it advances by."""
    if component is None:
        return None
    values: dict[str, Any] = getattr(component, "values", {})
    length = steps if interval == "step" else epochs
    lengths = {key: length for key, value in values.items() if value == RUN}
    scheduler = component(optimizer=optimizer, **lengths)
    if isinstance(scheduler, ReduceLROnPlateau) and interval == "step":
        raise InputError(
            "scheduler: ReduceLROnPlateau looks at an epoch's metrics; set trainer.scheduler_interval=epoch"
        )
    return scheduler
