"""What is minimised, and schedules for its weights."""

from vae_experiments.objectives.elbo import ELBO
from vae_experiments.objectives.schedules import LinearWarmup, Schedule
from vae_experiments.objectives.seed import SeedObjective, weight_in_nats
from vae_experiments.objectives.terms import Objective, Terms

__all__ = ["ELBO", "LinearWarmup", "Objective", "Schedule", "SeedObjective", "Terms", "weight_in_nats"]
