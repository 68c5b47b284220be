"""Approximate posteriors q(z | x)."""

from vae_experiments.models.posteriors.base import Distribution, Posterior
from vae_experiments.models.posteriors.diagonal import DiagonalGaussian, DiagonalNormal, smooth_bound

__all__ = ["DiagonalGaussian", "DiagonalNormal", "Distribution", "Posterior", "smooth_bound"]
