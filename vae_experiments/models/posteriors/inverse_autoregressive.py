"""A diagonal Gaussian, bent by an autoregressive flow that depends on the image."""

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from vae_experiments.errors import InputError
from vae_experiments.models.flows.autoregressive import AutoregressiveNet, AutoregressiveStep
from vae_experiments.models.posteriors.base import Distribution, Posterior
from vae_experiments.models.posteriors.diagonal import DiagonalGaussian, DiagonalNormal

# Latents inverted at once where no gradient is wanted: few enough for a processor's cache.
BLOCK = 2**12


@dataclass(frozen=True)
class FlowNormal(Distribution):
    """What the steps, the dimensions' order turned round after each, make of a diagonal Gaussian.

    Everything is computed in the tensors' own type, whatever the autocast type: the inverse would not
    undo what bfloat16 rounds.
    """

    base: DiagonalNormal
    steps: tuple[AutoregressiveStep, ...]

    @property
    def mean(self) -> Tensor:
        """Where the flow takes the base's mean: a code for the image, though not the exact mean of q(z | x)."""
        return self._forward(self.base.loc)[0]

    def rsample(self, noise: Tensor) -> Tensor:
        return self._forward(self.base.rsample(noise))[0]

    def draw(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        start, log_q = self.base.draw(noise)
        z, log_det = self._forward(start)
        return z, log_q - log_det

    def log_prob(self, z: Tensor) -> Tensor:
        """As `Distribution.log_prob`; the flow is inverted dimension by dimension."""
        if torch.is_grad_enabled():
            return self._log_prob(z)
        rows = max(1, BLOCK // len(self.base.loc))
        parts = [self._log_prob(part) for part in z.reshape(-1, *z.shape[-2:]).split(rows)]
        return torch.cat(parts).reshape(*z.shape[:-2], -1)

    def _log_prob(self, z: Tensor) -> Tensor:
        total = z.new_zeros(())
        with torch.autocast(z.device.type, enabled=False):
            for step in reversed(self.steps):
                z, log_det = step.inverse(z.flip(-1))
                total = total + log_det
        return self.base.log_prob(z) - total

    def detach(self) -> "FlowNormal":
        return FlowNormal(self.base.detach(), tuple(step.detach() for step in self.steps))

    def __getitem__(self, images: slice) -> "FlowNormal":
        return FlowNormal(self.base[images], tuple(step[images] for step in self.steps))

    def _forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        total = z.new_zeros(())
        with torch.autocast(z.device.type, enabled=False):
            for step in self.steps:
                z, log_det = step(z)
                z, total = z.flip(-1), total + log_det
        return z, total


class InverseAutoregressive(Posterior):
    """An inverse autoregressive flow on a diagonal Gaussian (Kingma et al. 2016).

    Args:
        features: width of the encoder's output, which is also each step's context.
        latent_dim: number of latent dimensions.
        layers: steps of the flow.
        hidden: width of the two hidden layers in each, latent_dim at least.
        limit: bound on the base's |log variance|, approached smoothly.
        initial: the base's log variance, of every image, at first.

    Raises:
        InputError: hidden is less than latent_dim.
    """

    slow_log_prob = True

    def __init__(
        self,
        features: int,
        latent_dim: int,
        layers: Annotated[int, Ge(1)] = 4,
        hidden: Annotated[int, Ge(1)] = 128,
        limit: Annotated[float, Gt(0)] = 20.0,
        initial: float = -2.0,
    ) -> None:
        super().__init__()
        if hidden < latent_dim:
            raise InputError(
                f"posterior.hidden={hidden}: posterior=iaf needs hidden units for every latent dimension: at least "
                f"architecture.latent_dim={latent_dim} of them, better some times as many"
            )
        self.latent_dim = latent_dim
        self.base = DiagonalGaussian(features, latent_dim, limit=limit, initial=initial)
        self.layers = nn.ModuleList(AutoregressiveNet(latent_dim, features, hidden) for _ in range(layers))

    def forward(self, features: Tensor) -> FlowNormal:
        return FlowNormal(self.base(features), tuple(layer(features) for layer in self.layers))
