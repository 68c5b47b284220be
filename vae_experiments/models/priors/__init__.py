"""Priors p(z)."""

from vae_experiments.models.priors.base import Density, Encode, Prior
from vae_experiments.models.priors.flow import RealNVP
from vae_experiments.models.priors.mixture import GaussianMixture
from vae_experiments.models.priors.standard_normal import StandardNormal
from vae_experiments.models.priors.uniform_sphere import UniformSphere
from vae_experiments.models.priors.vamp import VampPrior

__all__ = [
    "Density",
    "Encode",
    "GaussianMixture",
    "Prior",
    "RealNVP",
    "StandardNormal",
    "UniformSphere",
    "VampPrior",
]
