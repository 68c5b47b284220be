"""The objective of the notebook this project started from, slip included, for comparison with its figures."""

from dataclasses import dataclass
from math import prod
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from vae_experiments.errors import InputError
from vae_experiments.models.posteriors import DiagonalGaussian, DiagonalNormal
from vae_experiments.models.vae import VAE
from vae_experiments.objectives.base import Objective, Terms
from vae_experiments.objectives.schedules import Progress


@dataclass(frozen=True, kw_only=True)
class SeedObjective(Objective):
    """Cross-entropy averaged over pixels, minus `scale * mean(1 + s - mu^2 - exp(s))` over dimensions.

    The encoder's second output s is a log standard deviation where z is drawn, and stands in the
    KL term as if it were a log variance. That is a slip of the original; it is kept here because
    the printed losses contain it. The model therefore really is one with q = N(mu, exp(s)^2), and
    `reconstruction` and `kl` are the true parts of that model's bound, in nats per image.

    Args:
        scale: 5e-4 in the original. `weight_in_nats` says what that is as a KL weight.
    """

    unit: ClassVar[str] = "mean over pixels"
    scale: Annotated[float, Ge(0)] = 5e-4

    def nat(self, vae: VAE) -> float:
        return 1 / prod(vae.image_shape)

    def check(self, vae: VAE) -> None:
        if not isinstance(vae.posterior, DiagonalGaussian) or vae.posterior.spread != "log_sigma":
            raise InputError(
                "objective=seed: needs the posterior whose second head is a log standard deviation; "
                "leave the posterior as objective=seed sets it (posterior.spread=log_sigma)"
            )
        if vae.prior.learned:
            raise InputError(
                f"objective=seed: its KL term is that to N(0, I), from which the prior {type(vae.prior).__name__} "
                "would never learn anything; set prior=standard_normal"
            )

    def __call__(self, vae: VAE, x: Tensor, noise: Tensor, progress: Progress) -> Terms:
        output = vae(x, noise)
        q = output.posterior
        assert isinstance(q, DiagonalNormal)
        reconstruction = -vae.likelihood.log_prob(x, output.params)
        s = q.logvar / 2
        kl_as_written = -self.scale * (1 + s - q.mean.square() - torch.exp(s)).mean(-1)
        loss = reconstruction / prod(vae.image_shape) + kl_as_written
        return Terms(loss, reconstruction, output.kl)


def weight_in_nats(scale: float, pixels: int, latent_dim: int) -> float:
    """The KL weight, in nats per image, of a loss averaged over pixels with `-scale * mean(1 + s - mu^2 - exp(s))`.

    The mean over dimensions holds 2 KL / latent_dim, and multiplying the loss by the number of
    pixels gives nats: scale * 2 * pixels / latent_dim. For 5e-4, 784 and 2 that is 0.392.
    """
    return scale * 2 * pixels / latent_dim
