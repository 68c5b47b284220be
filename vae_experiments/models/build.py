"""Puts a VAE together from its parts."""

from collections.abc import Callable

from vae_experiments.models.architectures import Architecture
from vae_experiments.models.architectures.base import ImageShape
from vae_experiments.models.initialization import init_glorot
from vae_experiments.models.likelihoods import Likelihood
from vae_experiments.models.posteriors import Posterior
from vae_experiments.models.priors import Prior
from vae_experiments.models.vae import VAE


def build_vae(
    architecture: Architecture,
    posterior: Callable[..., Posterior],
    prior: Callable[..., Prior],
    likelihood: Likelihood,
    image_shape: ImageShape,
) -> VAE:
    """A VAE for images of `image_shape`, freshly initialised from torch's global generator.

    Encoder and decoder begin as Keras's layers do; posterior and prior initialise themselves.

    `posterior` is called with features= and latent_dim=, `prior` with latent_dim=: what only the
    architecture knows.
    """
    vae = VAE(
        encoder=architecture.encoder(image_shape),
        posterior=posterior(features=architecture.features, latent_dim=architecture.latent_dim),
        prior=prior(latent_dim=architecture.latent_dim),
        decoder=architecture.decoder(image_shape, likelihood.params_per_channel),
        likelihood=likelihood,
        image_shape=image_shape,
    )
    init_glorot(vae.encoder)
    init_glorot(vae.decoder)
    return vae
