"""The bound with some nats of KL for nothing, against latents that are given up early."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from vae_experiments.models.vae import VAE
from vae_experiments.objectives.base import Objective, Terms
from vae_experiments.objectives.factorised import factorised_posterior, require_factorised
from vae_experiments.objectives.schedules import Progress, Weight, weight_at


@dataclass(frozen=True, kw_only=True)
class FreeBits(Objective):
    """Minimises reconstruction + sum over groups of max(nats, KL of the group), in nats per image
    (Kingma et al. 2016).

    As in the paper, a group's KL is the mean over the batch: a group may say much of some images and
    little of others. That couples the images; a smaller batch is nearer to a maximum image by image.

    Args:
        nats: lambda, a number or a schedule: what each group may hold without a price.
        group: latent dimensions that share the nats; the last group has those that are left over.
    """

    couples_images: ClassVar[bool] = True
    nats: Weight = 0.25
    group: Annotated[int, Ge(1)] = 1

    def check(self, vae: VAE) -> None:
        require_factorised("free_bits", vae)

    def __call__(self, vae: VAE, x: Tensor, noise: Tensor, progress: Progress) -> Terms:
        output = vae(x, noise)
        reconstruction = -vae.likelihood.log_prob(x, output.params)
        dims = factorised_posterior(output).kl_to_standard_normal_per_dim()
        groups = torch.stack([dims.sum(-1) for dims in dims.split(self.group, -1)], -1)  # [B, groups]
        free = weight_at(self.nats, progress)
        # The mean over the batch of this is the maximum, and so is its gradient that of the maximum.
        paid = torch.where(groups.mean(0) > free, groups, free).sum(-1)
        return Terms(reconstruction + paid, reconstruction, output.kl)
