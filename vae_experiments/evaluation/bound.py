"""The evidence lower bound and its parts, image by image."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vae_experiments.evaluation.examined import BLOCK, Examined
from vae_experiments.generation.inference import evaluating

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Bound:
    """One value per image, each [N], in nats."""

    reconstruction: Values  # -log p(x | z) at one z ~ q(z | x)
    kl: Values  # KL(q(z | x) || p(z)), the rate: exact where it has a closed form, else at that z

    @property
    def elbo(self) -> Values:
        """The evidence lower bound."""
        return -(self.reconstruction + self.kl)


def bound(examined: Examined) -> Bound:
    """The bound by one draw per image."""
    vae = examined.vae
    reconstruction, kl = [], []
    with evaluating(vae) as device:
        for x, generator in examined.blocks("bound", device):
            output = vae(x, vae.posterior.noise(BLOCK, generator)[: len(x)].to(device))
            reconstruction.append(-vae.likelihood.log_prob(x, output.params).double().cpu().numpy())
            kl.append(output.kl.double().cpu().numpy())
    return Bound(np.concatenate(reconstruction), np.concatenate(kl))
