"""Approximate posteriors q(z | x)."""

from vae_experiments.models.posteriors.base import Distribution, Posterior
from vae_experiments.models.posteriors.diagonal import DiagonalGaussian, DiagonalNormal
from vae_experiments.models.posteriors.full import FullGaussian, FullNormal
from vae_experiments.models.posteriors.inverse_autoregressive import FlowNormal, InverseAutoregressive
from vae_experiments.models.posteriors.von_mises_fisher import VMF, VonMisesFisher

__all__ = [
    "VMF",
    "DiagonalGaussian",
    "DiagonalNormal",
    "Distribution",
    "FlowNormal",
    "FullGaussian",
    "FullNormal",
    "InverseAutoregressive",
    "Posterior",
    "VonMisesFisher",
]
