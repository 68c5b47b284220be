"""PyTorch's optimizers and schedules, told how long the run is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

from vae_experiments.config.construct import Later, construct
from vae_experiments.errors import InputError
from vae_experiments.training.optimization import build_optimizer, build_scheduler
from vae_experiments.training.warmup_stable_decay import WarmupStableDecay

TORCH = "torch.optim.lr_scheduler"


@dataclass(frozen=True)
class Config:
    scheduler: Annotated[Callable[..., LRScheduler], Later("optimizer")]


@dataclass(frozen=True)
class OptimizerConfig:
    optimizer: Annotated[Callable[..., Optimizer], Later("params")]


def built(interval: str, **keys: Any) -> LRScheduler | None:
    """Over 20 steps in 5 epochs."""
    component = construct(Config, {"scheduler": keys}).scheduler
    optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=1.0)
    return build_scheduler(component, optimizer, interval=interval, steps=20, epochs=5)


@pytest.mark.parametrize(("interval", "length"), [("step", 20), ("epoch", 5)])
def test_run_means_the_runs_length_in_what_the_schedule_advances_by(interval: str, length: int) -> None:
    cosine = built(interval, _target_=f"{TORCH}.CosineAnnealingLR", T_max="run")
    assert isinstance(cosine, CosineAnnealingLR)
    assert cosine.T_max == length
    one_cycle = built(interval, _target_=f"{TORCH}.OneCycleLR", max_lr=1.0, total_steps="run", cycle_momentum=False)
    assert isinstance(one_cycle, OneCycleLR)
    assert one_cycle.total_steps == length


def test_a_length_that_was_given_stays() -> None:
    cosine = built("step", _target_=f"{TORCH}.CosineAnnealingLR", T_max=7)
    assert isinstance(cosine, CosineAnnealingLR)
    assert cosine.T_max == 7


def test_a_schedule_of_the_runs_length_can_be_advanced_to_the_runs_end() -> None:
    scheduler = built("step", _target_=f"{TORCH}.CosineAnnealingLR", T_max="run")
    assert scheduler is not None
    for _ in range(20):
        scheduler.optimizer.step()
        scheduler.step()
    assert scheduler.get_last_lr() == pytest.approx([0.0])


def test_a_schedule_that_watches_a_metric_advances_by_the_epoch() -> None:
    plateau = built("epoch", _target_=f"{TORCH}.ReduceLROnPlateau", patience=2)
    assert isinstance(plateau, ReduceLROnPlateau)
    with pytest.raises(InputError, match=r"scheduler: .*trainer\.scheduler_interval=epoch"):
        built("step", _target_=f"{TORCH}.ReduceLROnPlateau", patience=2)


def test_no_schedule_is_none() -> None:
    optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=1.0)
    assert build_scheduler(None, optimizer, interval="step", steps=1, epochs=1) is None


def test_only_parameters_that_train_are_handed_to_the_optimizer() -> None:
    component = construct(OptimizerConfig, {"optimizer": {"_target_": "torch.optim.SGD", "lr": 0.1}}).optimizer
    model = torch.nn.Linear(2, 2)
    model.bias.requires_grad_(False)
    (group,) = build_optimizer(component, model).param_groups
    assert group["params"] == [model.weight]


def test_what_is_no_optimizer_is_refused() -> None:
    with pytest.raises(InputError, match="optimizer: Identity is not a"):
        build_optimizer(lambda params: torch.nn.Identity(), torch.nn.Linear(2, 2))  # type: ignore[arg-type,return-value]


def test_an_optimizer_that_needs_the_loss_again_is_refused() -> None:
    with pytest.raises(InputError, match="LBFGS"):
        build_optimizer(torch.optim.LBFGS, torch.nn.Linear(2, 2))


def test_warmup_stable_decay_is_two_ramps_and_a_plain() -> None:
    optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=2.0)
    scheduler = WarmupStableDecay(optimizer, total=100, warmup=0.1, decay=0.2)
    rates = []
    for _ in range(100):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert rates[:10] == pytest.approx([0.1 + 0.2 * i for i in range(10)])
    assert rates[10:80] == [2.0] * 70
    assert rates[80:] == pytest.approx([1.95 - 0.1 * i for i in range(20)])


def test_warmup_and_decay_fit_into_the_run() -> None:
    with pytest.raises(InputError, match=r"warmup=0\.6 and decay=0\.5"):
        built("step", _target_=f"{WarmupStableDecay.__module__}.WarmupStableDecay", total="run", warmup=0.6, decay=0.5)
