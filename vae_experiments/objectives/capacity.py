"""The KL held at a value that grows while training."""

from dataclasses import dataclass

from torch import Tensor

from vae_experiments.models.vae import VAE
from vae_experiments.objectives.base import Objective, Terms
from vae_experiments.objectives.schedules import Progress, Weight, weight_at


@dataclass(frozen=True, kw_only=True)
class Capacity(Objective):
    """Minimises reconstruction + gamma * |kl - capacity|, in nats per image (Burgess et al. 2018).

    The distance is each image's own, as the paper writes it. Code that takes it of the batch's mean KL
    leaves single images free and lets the loss depend on the batch size. Where the KL has no closed form (a learned
    prior, or posterior=iaf) kl is the estimate at one draw of z, and each draw's is held at the capacity: that asks
    draws to agree as well, and an image whose KL is the capacity pays all the same.

    Args:
        gamma: a number, or a schedule: the price of a nat above or below. The paper's 1000 needs its long training:
            at first nothing but the KL is worth learning.
        capacity: C in nats, a number or a schedule; in the paper a straight line up to 25.
    """

    gamma: Weight = 10.0
    capacity: Weight = 25.0

    def check(self, vae: VAE) -> None:
        self.require_learning(vae, "gamma")

    def __call__(self, vae: VAE, x: Tensor, noise: Tensor, progress: Progress) -> Terms:
        output = vae(x, noise)
        reconstruction = -vae.likelihood.log_prob(x, output.params)
        away = (output.kl - weight_at(self.capacity, progress)).abs()
        return Terms(reconstruction + weight_at(self.gamma, progress) * away, reconstruction, output.kl)
