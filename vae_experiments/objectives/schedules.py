"""Weights that move with training: functions of how far it is alone, so that resuming needs no state of theirs."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le
from torch import Tensor


@dataclass(frozen=True)
class Progress:
    """How far training is, and what it goes over."""

    step: int  # finished updates
    steps_per_epoch: int
    steps: int  # of the whole run
    images: int  # in the training part

    def value(self, schedule: "Schedule") -> float | Tensor:
        """What a schedule gives at this point."""
        return schedule(self)


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
        units = {"steps": 1, "epochs": progress.steps_per_epoch, "run": progress.steps}
        return self.start + (self.end - self.start) * self.share(progress.step / (self.length * units[self.unit]))

    @abstractmethod
    def share(self, t: float) -> float:
        """How much of the way from `start` to `end` is gone at time t, where 1 is `length`; t may be larger."""


@dataclass(frozen=True, kw_only=True)
class LinearWarmup(Schedule):
    """In a straight line, then `end`."""

    def share(self, t: float) -> float:
        return min(t, 1.0)


@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """Along half a period of a cosine: slowly at both ends, fastest in the middle."""

    def share(self, t: float) -> float:
        return (1 - math.cos(math.pi * min(t, 1.0))) / 2


@dataclass(frozen=True, kw_only=True)
class Sigmoid(Schedule):
    """Along a logistic curve (Bowman et al. 2016), stretched so that it is at `start` and `end` exactly.

    Args:
        steepness: of the logistic function, what of its argument `length` covers; the larger, the more sudden.
    """

    steepness: Annotated[float, Gt(0), Le(100)] = 10.0

    def share(self, t: float) -> float:
        # 1 / (1 + exp(-u)) = (1 + tanh(u / 2)) / 2, with u from -steepness / 2 to steepness / 2.
        end = math.tanh(self.steepness / 4)
        return (1 + math.tanh(self.steepness * (2 * min(t, 1.0) - 1) / 4) / end) / 2


@dataclass(frozen=True, kw_only=True)
class Cyclical(Schedule):
    """Several times over from `start` to `end` in a straight line, staying there for the rest of each cycle
    (Fu et al. 2019). `length` is that of all cycles together; after it the weight is `end`, as the last cycle left it.

    Args:
        cycles: how often; one takes `length / cycles`.
        ramp: the share of a cycle that the line takes.
    """

    cycles: Annotated[int, Ge(1)] = 4
    ramp: Annotated[float, Gt(0), Le(1)] = 0.5

    def share(self, t: float) -> float:
        return 1.0 if t >= 1 else min(t * self.cycles % 1 / self.ramp, 1.0)


Weight = Annotated[float, Ge(0)] | Schedule


def weight_at(weight: float | Schedule, progress: Progress) -> float | Tensor:
    """The value of a weight that may be a number or a schedule; a tensor [] where progress lies on a device."""
    return progress.value(weight) if isinstance(weight, Schedule) else weight
