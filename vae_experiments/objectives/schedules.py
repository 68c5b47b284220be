"""Weights that move with the training step: functions of the step alone, so that resuming needs no state."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge


class Schedule(ABC):
    """A weight as a function of the training step."""

    @abstractmethod
    def __call__(self, step: int) -> float:
        """The weight at `step`, counted from 0."""


@dataclass(frozen=True, kw_only=True)
class LinearWarmup(Schedule):
    """From `start` to `end` in a straight line over `steps` training steps, then `end`."""

    steps: Annotated[int, Ge(1)]
    start: Annotated[float, Ge(0)] = 0.0
    end: Annotated[float, Ge(0)] = 1.0

    def __call__(self, step: int) -> float:
        return self.start + (self.end - self.start) * min(step / self.steps, 1.0)


def weight_at(weight: float | Schedule, step: int) -> float:
    """The value of a weight that may be a number or a schedule."""
    return weight(step) if isinstance(weight, Schedule) else weight
