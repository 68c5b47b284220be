"""What the objectives that look at latent dimensions one by one need of a model."""

from vae_experiments.errors import InputError
from vae_experiments.models.posteriors import DiagonalGaussian, DiagonalNormal
from vae_experiments.models.priors import StandardNormal
from vae_experiments.models.vae import VAE, VAEOutput


def require_factorised(objective: str, vae: VAE) -> None:
    """Raises InputError, in that objective's name, unless q(z | x) and p(z) are products over latent dimensions."""
    if not isinstance(vae.posterior, DiagonalGaussian) or not isinstance(vae.prior, StandardNormal):
        raise InputError(
            f"objective={objective}: takes the KL apart by latent dimension, which the posterior "
            f"{type(vae.posterior).__name__} and the prior {type(vae.prior).__name__} do not allow; "
            "posterior=gaussian prior=standard_normal do"
        )


def factorised_posterior(output: VAEOutput) -> DiagonalNormal:
    """The posterior of a model that `require_factorised` let through."""
    q = output.posterior
    assert isinstance(q, DiagonalNormal)
    return q
