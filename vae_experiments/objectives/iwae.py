"""The importance-weighted bound, tighter than the evidence lower bound."""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge
from torch import Tensor

from vae_experiments.models.vae import VAE
from vae_experiments.objectives.base import Objective, Terms
from vae_experiments.objectives.schedules import Progress


@dataclass(frozen=True, kw_only=True)
class IWAE(Objective):
    """Minimises -log mean_k w_k, w_k = p(x | z_k) p(z_k) / q(z_k | x), in nats per image (Burda et al. 2016).

    `iw_bound` is that bound, log mean_k w_k. `reconstruction` and `kl` are means over the k latents, or the
    closed form of the KL where there is one; with one latent the bound is the evidence lower bound.

    Args:
        samples: latents per image, k. A step decodes that many times as many images.
        estimator: of the gradient. "iwae" is the bound's own, whose part for the encoder has a signal-to-noise
            ratio that falls as k grows (Rainforth et al. 2018). "dreg", doubly reparametrised (Tucker et al.
            2019), has the same expectation, and a variance that vanishes as q(z | x) nears the true posterior; far
            from it, at the beginning, it can be the noisier one. The decoder's and the prior's part are the same.
    """

    others: ClassVar[tuple[str, ...]] = ("iw_bound",)
    samples: Annotated[int, Ge(1)] = 5
    estimator: Literal["iwae", "dreg"] = "iwae"

    @property
    def draws(self) -> int:
        return self.samples

    def noise(self, vae: VAE, n: int, generator: torch.Generator) -> Tensor:
        noise = vae.posterior.noise(n * self.samples, generator)
        return noise.reshape(n, self.samples, *noise.shape[1:])

    def __call__(self, vae: VAE, x: Tensor, noise: Tensor, progress: Progress) -> Terms:
        q, p = vae.encode(x), vae.latents()
        noise = noise.transpose(0, 1)  # [k, B, ...]: the images' axis next to that of their latents
        if self.estimator == "iwae":
            z, log_q = q.draw(noise)
        else:
            z = q.rsample(noise)
            log_q = q.detach().log_prob(z)
        log_likelihood = vae.log_likelihood(x, z)
        log_ratio = log_q - p.log_prob(z)
        log_w = log_likelihood - log_ratio  # [k, B]
        bound = torch.logsumexp(log_w, 0) - math.log(self.samples)
        if self.estimator == "dreg" and z.requires_grad:
            # The bound's gradient reaches z_k times its normalised weight; the encoder's takes the square of it.
            shares = torch.softmax(log_w.detach(), 0)[..., None]
            z.register_hook(lambda gradient: shares * gradient)
        kl = p.kl(q)
        return Terms(-bound, -log_likelihood.mean(0), log_ratio.mean(0) if kl is None else kl, {"iw_bound": bound})
