"""Weights that move with training: functions of how far it is alone, so that resuming needs no state of theirs."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt


@dataclass(frozen=True)
class Progress:
    """How far training is, and what it goes over."""

    step: int  # finished updates
    steps_per_epoch: int
    max_epochs: int
    images: int  # in the training part


@dataclass(frozen=True, kw_only=True)
class Schedule(ABC):
    """A weight that moves from `start` to `end`.

    Args:
        length: how long it moves, in `unit`s.
        unit: training steps, epochs, or shares of the whole run (then `length` is at most 1, usually).
        start: the weight before the first step.
        end: the weight afterwards.
    """

    length: Annotated[float, Gt(0)]
    unit: Literal["steps", "epochs", "run"] = "steps"
    start: Annotated[float, Ge(0)] = 0.0
    end: Annotated[float, Ge(0)] = 1.0

    def __call__(self, progress: Progress) -> float:
        """The weight at that point of the training."""
        steps = {"steps": 1, "epochs": progress.steps_per_epoch}
        whole = progress.steps_per_epoch * progress.max_epochs
        return self.start + (self.end - self.start) * self.share(
            progress.step / (self.length * steps.get(self.unit, whole))
        )

    @abstractmethod
    def share(self, t: float) -> float:
        """How much of the way from `start` to `end` is gone at time t, where 1 is `length`; t may be larger."""


@dataclass(frozen=True, kw_only=True)
class LinearWarmup(Schedule):
    """In a straight line, then `end`."""

    def share(self, t: float) -> float:
        return min(t, 1.0)


Weight = Annotated[float, Ge(0)] | Schedule


def weight_at(weight: float | Schedule, progress: Progress) -> float:
    """The value of a weight that may be a number or a schedule."""
    return weight(progress) if isinstance(weight, Schedule) else weight
