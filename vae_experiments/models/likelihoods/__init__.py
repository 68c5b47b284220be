"""Likelihoods p(x | z)."""

from vae_experiments.models.likelihoods.base import Likelihood, Pixels
from vae_experiments.models.likelihoods.bernoulli import Bernoulli
from vae_experiments.models.likelihoods.categorical import Categorical
from vae_experiments.models.likelihoods.continuous_bernoulli import ContinuousBernoulli
from vae_experiments.models.likelihoods.discretized_logistic import DiscretizedLogistic, DiscretizedLogisticMixture
from vae_experiments.models.likelihoods.gaussian import Gaussian

__all__ = [
    "Bernoulli",
    "Categorical",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "DiscretizedLogisticMixture",
    "Gaussian",
    "Likelihood",
    "Pixels",
]
