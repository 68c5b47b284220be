"""Priors p(z)."""

from vae_experiments.models.priors.base import Density, Encode, Prior
from vae_experiments.models.priors.standard_normal import StandardNormal

__all__ = ["Density", "Encode", "Prior", "StandardNormal"]
