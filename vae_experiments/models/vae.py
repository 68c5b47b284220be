"""The variational autoencoder: an encoder, a posterior, a prior, a decoder and a likelihood, composed."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vae_experiments.models.likelihoods import Likelihood
from vae_experiments.models.posteriors import Distribution, Posterior
from vae_experiments.models.priors import Density, Prior


@dataclass(frozen=True)
class VAEOutput:
    """One pass through the model, one latent per image."""

    posterior: Distribution  # q(z | x)
    z: Tensor  # [B, latent_dim], drawn from q
    kl: Tensor  # KL(q(z | x) || p(z)) in nats, [B]: exact where it has a closed form, else estimated at z
    params: Tensor  # [B, C * params_per_channel, H, W], of p(x | z)


class VAE(nn.Module):
    """q(z | x) and p(x | z) p(z) over images [B, C, H, W] in [0, 1].

    Args:
        encoder: images to features [B, F].
        posterior: features to q(z | x).
        prior: p(z).
        decoder: latents [B, latent_dim] to likelihood parameters.
        likelihood: what those parameters mean.
        image_shape: (C, H, W).
    """

    def __init__(
        self,
        *,
        encoder: nn.Module,
        posterior: Posterior,
        prior: Prior,
        decoder: nn.Module,
        likelihood: Likelihood,
        image_shape: tuple[int, int, int],
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.posterior = posterior
        self.prior = prior
        self.decoder = decoder
        self.likelihood = likelihood
        self.image_shape = image_shape

    @property
    def latent_dim(self) -> int:
        return self.prior.latent_dim

    def encode(self, x: Tensor) -> Distribution:
        """q(z | x) of images [B, C, H, W]; its `mean` is the code."""
        q: Distribution = self.posterior(self.encoder(x))
        return q

    def latents(self) -> Density:
        """p(z) as it is now."""
        p: Density = self.prior(self.encode)
        return p

    def decode(self, z: Tensor) -> Tensor:
        """Likelihood parameters [B, C * params_per_channel, H, W] of latents [B, latent_dim]."""
        params: Tensor = self.decoder(z)
        return params

    def forward(self, x: Tensor, noise: Tensor) -> VAEOutput:
        """Encodes x, draws z from `noise` ([B, N], the posterior's) and decodes it."""
        q, p = self.encode(x), self.latents()
        kl = p.kl(q)
        if kl is not None:
            z = q.rsample(noise)
        else:
            z, log_q = q.draw(noise)
            kl = log_q - p.log_prob(z)
        return VAEOutput(q, z, kl, self.decode(z))

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x | z) in nats, [..., B], of images [B, C, H, W] and latents [..., B, latent_dim]."""
        params = self.decode(z.flatten(0, -2))
        repeated = x.expand(*z.shape[:-2], *x.shape).flatten(0, -4)
        return self.likelihood.log_prob(repeated, params).reshape(z.shape[:-1])

    def images(self, z: Tensor) -> Tensor:
        """The expected images [B, C, H, W], in [0, 1], of latents [B, latent_dim]."""
        return self.likelihood.mean(self.decode(z))

    def reconstruct(self, x: Tensor) -> Tensor:
        """The expected images, in [0, 1], at each image's posterior mean."""
        return self.images(self.encode(x).mean)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """n expected images [n, C, H, W], in [0, 1], of latents drawn from the prior."""
        return self.images(self.latents().sample(n, generator))
