"""What is minimised, and schedules for its weights."""

from vae_experiments.objectives.base import Objective, Terms
from vae_experiments.objectives.elbo import ELBO
from vae_experiments.objectives.schedules import LinearWarmup, Progress, Schedule, Weight
from vae_experiments.objectives.seed import SeedObjective, weight_in_nats

__all__ = [
    "ELBO",
    "LinearWarmup",
    "Objective",
    "Progress",
    "Schedule",
    "SeedObjective",
    "Terms",
    "Weight",
    "weight_in_nats",
]
