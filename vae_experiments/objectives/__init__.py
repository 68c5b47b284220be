"""What is minimised, and schedules for its weights."""

from vae_experiments.objectives.base import Objective, Terms
from vae_experiments.objectives.beta_tcvae import BetaTCVAE
from vae_experiments.objectives.capacity import Capacity
from vae_experiments.objectives.elbo import ELBO
from vae_experiments.objectives.free_bits import FreeBits
from vae_experiments.objectives.infovae import InfoVAE
from vae_experiments.objectives.iwae import IWAE
from vae_experiments.objectives.schedules import (
    Cosine,
    Cyclical,
    LinearWarmup,
    Progress,
    Schedule,
    Sigmoid,
    Weight,
    weight_at,
)
from vae_experiments.objectives.seed import SeedObjective, weight_in_nats

__all__ = [
    "ELBO",
    "IWAE",
    "BetaTCVAE",
    "Capacity",
    "Cosine",
    "Cyclical",
    "FreeBits",
    "InfoVAE",
    "LinearWarmup",
    "Objective",
    "Progress",
    "Schedule",
    "SeedObjective",
    "Sigmoid",
    "Terms",
    "Weight",
    "weight_at",
    "weight_in_nats",
]
