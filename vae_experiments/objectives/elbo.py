"""The evidence lower bound, with a weight on its KL term."""

from dataclasses import dataclass

from torch import Tensor

from vae_experiments.models.vae import VAE
from vae_experiments.objectives.base import Objective, Terms
from vae_experiments.objectives.schedules import Progress, Weight, weight_at


@dataclass(frozen=True, kw_only=True)
class ELBO(Objective):
    """Minimises reconstruction + kl_weight * kl, in nats per image.

    At weight 1 it is the negative bound of Kingma & Welling (2014); at other weights the beta-VAE
    of Higgins et al. (2017).

    Args:
        kl_weight: a number, or a schedule.
    """

    kl_weight: Weight = 1.0

    def check(self, vae: VAE) -> None:
        self.require_learning(vae, "kl_weight")

    def __call__(self, vae: VAE, x: Tensor, noise: Tensor, progress: Progress) -> Terms:
        output = vae(x, noise)
        reconstruction = -vae.likelihood.log_prob(x, output.params)
        return Terms(reconstruction + weight_at(self.kl_weight, progress) * output.kl, reconstruction, output.kl)
