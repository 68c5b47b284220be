"""Densities over grey values."""

from vae_experiments.models.likelihoods.base import Likelihood, Pixels


class ContinuousLikelihood(Likelihood):
    """A density: log_prob may be positive, and compares with that of other densities alone; it never counts bits."""

    discrete = False

    def misfit(self, pixels: Pixels) -> str | None:
        if pixels == "levels":
            return None
        return "a density on binary pixels: a loss, not a log-likelihood; likelihood=bernoulli makes it one"
