"""Likelihoods p(x | z)."""

from vae_experiments.models.likelihoods.base import Likelihood, Pixels
from vae_experiments.models.likelihoods.bernoulli import Bernoulli

__all__ = ["Bernoulli", "Likelihood", "Pixels"]
