"""The evidence lower bound, with a weight on its KL term."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge
from torch import Tensor

from vae_experiments.models.vae import VAE
from vae_experiments.objectives.schedules import Schedule, weight_at
from vae_experiments.objectives.terms import Objective, Terms


@dataclass(frozen=True, kw_only=True)
class ELBO(Objective):
    """Minimises reconstruction + kl_weight * kl, in nats per image.

    At weight 1 it is the negative bound of Kingma & Welling (2014); at other weights the beta-VAE
    of Higgins et al. (2017).

    Args:
        kl_weight: a number, or a schedule over training steps.
    """

    kl_weight: Annotated[float, Ge(0)] | Schedule = 1.0

    def __call__(self, vae: VAE, x: Tensor, noise: Tensor, step: int) -> Terms:
        output = vae(x, noise)
        reconstruction = -vae.likelihood.log_prob(x, output.params)
        kl = vae.prior.kl(output.posterior, output.z)
        return Terms(reconstruction + weight_at(self.kl_weight, step) * kl, reconstruction, kl)
