"""Weights that move: their values, and that they depend on the training's progress alone."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from scipy.special import expit

from vae_experiments.objectives import Cosine, Cyclical, LinearWarmup, Progress, Schedule, Sigmoid

BEGIN = Progress(step=0, steps_per_epoch=10, steps=40, images=60)

SCHEDULES: list[Schedule] = [
    LinearWarmup(length=20, start=0.5, end=2.5),
    Cosine(length=20, start=0.5, end=2.5),
    Sigmoid(length=20, start=0.5, end=2.5),
    Cyclical(length=20, start=0.5, end=2.5, cycles=1, ramp=1.0),
]


def values(schedule: Schedule, *steps: int) -> list[float]:
    return [schedule(replace(BEGIN, step=step)) for step in steps]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: type(schedule).__name__)
def test_begins_at_start_is_half_way_in_the_middle_and_stays_at_end(schedule: Schedule) -> None:
    assert values(schedule, 0, 10, 20, 21, 1000) == pytest.approx([0.5, 1.5, 2.5, 2.5, 2.5], abs=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: type(schedule).__name__)
def test_a_weight_may_fall(schedule: Schedule) -> None:
    falling = values(replace(schedule, start=2.5, end=0.5), *range(25))
    assert falling == pytest.approx([3 - value for value in values(schedule, *range(25))])
    assert all(a >= b >= 0 for a, b in pairwise(falling))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: type(schedule).__name__)
def test_lengths_in_steps_epochs_and_runs_are_the_same_weights(schedule: Schedule) -> None:
    expected = values(schedule, *range(40))
    assert values(replace(schedule, length=2, unit="epochs"), *range(40)) == pytest.approx(expected)
    assert values(replace(schedule, length=0.5, unit="run"), *range(40)) == pytest.approx(expected)


def test_a_cosines_quarters() -> None:
    assert values(Cosine(length=12), 3, 4) == pytest.approx([(1 - math.sqrt(0.5)) / 2, 0.25])


@pytest.mark.parametrize("steepness", [0.1, 1.0, 10.0, 100.0])
def test_a_sigmoid_is_the_logistic_function_stretched(steepness: float) -> None:
    found = values(Sigmoid(length=20, steepness=steepness), *range(21))
    curve = [float(expit(steepness * (step / 20 - 0.5))) for step in range(21)]
    assert found == pytest.approx([(value - curve[0]) / (curve[-1] - curve[0]) for value in curve], abs=1e-9)


def test_cycles_rise_hold_and_begin_again() -> None:
    # Fu et al. 2019: two cycles of ten steps, whose first half goes from 0 to 1.
    cycle = [0, 0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1, 1]
    assert values(Cyclical(length=20, cycles=2, ramp=0.5), *range(23)) == pytest.approx([*cycle, *cycle, 1, 1, 1])
    quick = values(Cyclical(length=20, cycles=2, ramp=0.2), *range(10))
    assert quick == pytest.approx([0, 0.5, 1, 1, 1, 1, 1, 1, 1, 1])
