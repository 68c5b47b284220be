"""Everything a run needs in order to go on as if it had never stopped."""

import sys
import time
from dataclasses import InitVar, dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vae_experiments.models.vae import VAE

Metrics = dict[str, float]


@dataclass
class TrainingState:
    """Where a run is. What is random comes from `generator`, or from the seed and the epoch's number."""

    vae: VAE
    optimizer: Optimizer
    scheduler: LRScheduler | None
    generator: torch.Generator
    epoch: int = 0  # finished epochs
    batch: int = 0  # finished batches of the epoch under way
    step: int = 0  # finished updates
    terms: InitVar[int] = 3  # of the objective
    # Of the epoch under way: each of the objective's terms, over its images; the gradient's norm, over its steps.
    sums: Tensor = field(init=False)
    images: int = 0  # trained on in the epoch under way
    seconds: float = 0.0  # of training in the epoch under way
    history: list[Metrics] = field(default_factory=list)  # one entry per finished epoch
    best_epoch: int = 0  # 0: none yet
    best_value: float = 0.0

    def __post_init__(self, terms: int) -> None:
        self.sums = torch.zeros(terms + 1, dtype=torch.float64)

    def end_epoch(self, metrics: Metrics) -> None:
        """Closes the epoch under way with its metrics."""
        self.epoch += 1
        self.batch = 0
        self.images = 0
        self.seconds = 0.0
        self.sums.zero_()
        self.history.append({sys.intern(name): value for name, value in metrics.items()})  # each name in memory once

    def state_dict(self) -> dict[str, Any]:
        """Plain containers and tensors."""
        return {
            "vae": dict(self.vae.state_dict()),
            "optimizer": _plain(self.optimizer.state_dict()),
            "scheduler": None if self.scheduler is None else _plain(self.scheduler.state_dict()),
            "generator": self.generator.get_state(),
            "global_generators": _global_generators(self.generator.device),
            "sums": self.sums.cpu(),
            "history": list(self.history),  # rows never change: copies would grow with every epoch
            **{name: getattr(self, name) for name in _NUMBERS},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` gave, on this run's device."""
        self.vae.load_state_dict(state["vae"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        self.generator.set_state(state["generator"])
        for device, saved in state["global_generators"].items():
            if device == "cpu":
                torch.set_rng_state(saved)
            elif device == "cuda" and torch.cuda.is_available():
                torch.cuda.set_rng_state(saved)
            elif device == "mps" and torch.backends.mps.is_available():
                torch.mps.set_rng_state(saved)
        self.sums.copy_(state["sums"])
        self.history = [dict(metrics) for metrics in state["history"]]
        for name in _NUMBERS:
            setattr(self, name, state[name])


_NUMBERS = ("epoch", "batch", "step", "images", "seconds", "best_epoch", "best_value")


def _global_generators(device: torch.device) -> dict[str, Tensor]:
    """The states that a model's own dropout, say, draws from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def _plain(value: Any) -> Any:
    """The same without subclasses of the plain types, so that a checkpoint can be read without running code."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    for kind in (list, tuple):
        if isinstance(value, kind):
            return kind(_plain(item) for item in value)
    for number in (bool, int, float, str):
        if isinstance(value, number):
            return number(value)
    if value is None or isinstance(value, Tensor):
        return value
    raise TypeError(f"the optimizer's or its schedule's state holds a {type(value).__name__}")


class Stopwatch:
    """Seconds since it was last read."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self) -> float:
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        return seconds
