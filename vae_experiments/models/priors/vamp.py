"""The prior that the encoder itself makes of learned images."""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from vae_experiments.models.posteriors import Distribution
from vae_experiments.models.priors.base import Density, Encode, Prior
from vae_experiments.models.shapes import ImageShape

# A pseudo-input begins with its image's pixels drawn this far in from 0 and 1, where a sigmoid does not move.
MARGIN = 0.01

# Of the logits, between a training image and its copies, where there are more pseudo-inputs than images.
JITTER = 0.1

# Numbers of a [..., K, latent_dim] tensor held at once where no gradient is wanted: 64 MB in float32.
BLOCK = 2**24


@dataclass(frozen=True)
class AggregatePosterior(Density):
    """The mean over k of q(z | u_k).

    Args:
        q: of the pseudo-inputs, as of a batch of K images.
        components: K.
        latent_dim: number of latent dimensions.
    """

    q: Distribution
    components: int
    latent_dim: int

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        mean = self.q.mean
        k = torch.randint(self.components, (n,), generator=generator, device=generator.device).to(mean.device)
        noise = torch.randn(n, self.latent_dim, generator=generator, device=generator.device).to(mean)
        z = torch.empty_like(noise)
        for chosen in k.unique().tolist():  # n draws from every component would be [n, K, latent_dim]
            rows = k == chosen
            z[rows] = self.q[chosen : chosen + 1].rsample(noise[rows][:, None])[:, 0]
        return z.to(generator.device)

    def log_prob(self, z: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return self._log_prob(z)
        rows = max(1, BLOCK // (self.components * self.latent_dim))
        parts = [self._log_prob(part) for part in z.reshape(-1, self.latent_dim).split(rows)]
        return torch.cat(parts).reshape(z.shape[:-1])

    def _log_prob(self, z: Tensor) -> Tensor:
        # Each latent under every component: against the axis of q's images z has one of length 1.
        return torch.logsumexp(self.q.log_prob(z[..., None, :]), -1) - math.log(self.components)


class VampPrior(Prior):
    """p(z) = 1/K sum over k of q(z | u_k) with learned pseudo-inputs u_k (Tomczak & Welling 2018).

    The pseudo-inputs pass through the encoder in every step, as that many images more.

    Args:
        latent_dim: number of latent dimensions.
        image_shape: (C, H, W), also of the pseudo-inputs.
        components: K; the paper has 500.
    """

    learned = True

    def __init__(self, latent_dim: int, image_shape: ImageShape, components: Annotated[int, Ge(1)] = 100) -> None:
        super().__init__(latent_dim, image_shape)
        self.logits = nn.Parameter(torch.randn(components, *image_shape))

    @property
    def pseudo_inputs(self) -> Tensor:
        """The images u, [K, C, H, W] in [0, 1]."""
        return torch.sigmoid(self.logits)

    def forward(self, encode: Encode) -> AggregatePosterior:
        return AggregatePosterior(encode(self.pseudo_inputs), len(self.logits), self.latent_dim)

    @torch.no_grad()
    def initialize(self, images: Tensor) -> None:
        """Sets the pseudo-inputs to the first K of the images, over again with a little noise if they are fewer."""
        count = len(self.logits)
        chosen = images[torch.arange(count, device=images.device) % len(images)]
        self.logits.copy_(torch.logit(chosen, MARGIN))
        # From torch's global generator, like any first weights.
        self.logits[len(images) :] += JITTER * torch.randn_like(self.logits[len(images) :])
