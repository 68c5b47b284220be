"""Puts a VAE together from its parts."""

import copy
from collections.abc import Callable

from vae_experiments.errors import InputError
from vae_experiments.models.architectures import Architecture
from vae_experiments.models.likelihoods import Likelihood
from vae_experiments.models.posteriors import Posterior
from vae_experiments.models.priors import Prior
from vae_experiments.models.shapes import ImageShape
from vae_experiments.models.vae import VAE


def build_vae(
    architecture: Architecture,
    posterior: Callable[..., Posterior],
    prior: Callable[..., Prior],
    likelihood: Likelihood,
    image_shape: ImageShape,
) -> VAE:
    """A VAE for images of `image_shape`, freshly initialised from torch's global generator.

    `posterior` is called with features= and latent_dim=, `prior` with latent_dim= and image_shape=: what
    only the architecture and the data know. The likelihood, which may have parameters of its own, is copied.

    Raises:
        InputError: posterior and prior do not live in the same space.
    """
    vae = VAE(
        encoder=architecture.encoder(image_shape),
        posterior=posterior(features=architecture.features, latent_dim=architecture.latent_dim),
        prior=prior(latent_dim=architecture.latent_dim, image_shape=image_shape),
        decoder=architecture.decoder(image_shape, likelihood.params_per_channel),
        likelihood=copy.deepcopy(likelihood),
        image_shape=image_shape,
    )
    if vae.posterior.space != vae.prior.space:
        raise InputError(
            f"the prior {type(vae.prior).__name__}: its latents are {_WHERE[vae.prior.space]}, those of "
            f"the posterior {type(vae.posterior).__name__} {_WHERE[vae.posterior.space]}; "
            "prior=uniform_sphere goes with posterior=von_mises_fisher, every other prior with every other posterior"
        )
    architecture.initialize(vae.encoder)
    architecture.initialize(vae.decoder)
    return vae


_WHERE = {"euclidean": "anywhere", "sphere": "on the unit sphere"}
