"""A bound on the mismatch of aggregate posterior and prior instead of, or beside, each image's KL."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from vae_experiments.models.vae import VAE
from vae_experiments.objectives.base import Objective, Terms
from vae_experiments.objectives.schedules import Progress, Weight, weight_at

Kernel = Literal["imq", "rbf"]

# Values that a float32 uniform draw has: times this it is a whole number, the seed of the prior's draws.
UNIFORM_VALUES = 2**24


@dataclass(frozen=True, kw_only=True)
class InfoVAE(Objective):
    """Minimises reconstruction + kl_weight * kl + mmd_weight * mmd, in nats per image (Zhao et al. 2019).

    `mmd` is the squared maximum mean discrepancy between q(z), the mean over images of q(z | x), and p(z).
    The paper's weights are kl_weight = 1 - alpha and mmd_weight = alpha + lambda - 1. With kl_weight 0 it is
    the MMD-VAE, and for a posterior without spread the WAE-MMD of Tolstikhin et al. (2018).

    Draws from p(z) are constants here: a learned prior learns from the KL term.

    Args:
        kl_weight: a number, or a schedule.
        mmd_weight: a number, or a schedule; the discrepancy itself is below 2.
        kernel: with s = |z - z'|^2 / E|z - z'|^2, the mean over two draws from N(0, I), or from the sphere: "imq" is
            1 / (1 + s) (Tolstikhin et al. 2018), whose tails reach latents far from the prior; "rbf" is exp(-s).
    """

    couples_images: ClassVar[bool] = True
    others: ClassVar[tuple[str, ...]] = ("mmd",)
    kl_weight: Weight = 0.0
    mmd_weight: Weight = 100.0
    kernel: Kernel = "imq"

    def check(self, vae: VAE) -> None:
        self.require_learning(vae, "kl_weight")

    def noise(self, vae: VAE, n: int, generator: torch.Generator) -> Tensor:
        """The posterior's, and one column more: the batch's first number there seeds the draws from the prior."""
        seeds = torch.rand(n, 1, generator=generator, device=generator.device)
        return torch.cat([vae.posterior.noise(n, generator), seeds], -1)

    def __call__(self, vae: VAE, x: Tensor, noise: Tensor, progress: Progress) -> Terms:
        output = vae(x, noise[:, :-1])
        reconstruction = -vae.likelihood.log_prob(x, output.params)
        # On the CPU: the same draws on every device.
        generator = torch.Generator().manual_seed(int(noise[0, -1].item() * UNIFORM_VALUES))
        with torch.no_grad():
            drawn = vae.latents().sample(len(x), generator).to(output.z)
        scale = 2.0 * (vae.latent_dim if vae.prior.space == "euclidean" else 1)
        mmd = squared_mmd(output.z, drawn, scale, self.kernel).expand(len(x))
        loss = reconstruction + weight_at(self.kl_weight, progress) * output.kl
        return Terms(loss + weight_at(self.mmd_weight, progress) * mmd, reconstruction, output.kl, {"mmd": mmd})


def squared_mmd(a: Tensor, b: Tensor, scale: float, kernel: Kernel) -> Tensor:
    """Squared maximum mean discrepancy of two samples [n, D] of one size, unbiased (Gretton et al. 2012, lemma 6).

    Being unbiased it means the same at every n, and may be a little below zero. One draw of each says
    nothing of their spread: 0 then.

    Args:
        a: one sample.
        b: the other.
        scale: squared distance at which the kernel has fallen to 1/2 ("imq") or 1/e ("rbf").
        kernel: as `InfoVAE` says.
    """
    n = len(a)
    if n == 1:
        return 0.0 * a.sum()
    within = _kernel(a, a, scale, kernel) + _kernel(b, b, scale, kernel)
    # Each draw's pair with itself, where the kernel is 1, does not count.
    return (within.sum() - 2 * n) / (n * (n - 1)) - 2 * _kernel(a, b, scale, kernel).mean()


def _kernel(a: Tensor, b: Tensor, scale: float, kernel: Kernel) -> Tensor:
    """Of every pair, [n, m]."""
    # Differences, not inner products, in which those of near latents would drown.
    s = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").square() / scale
    return 1 / (1 + s) if kernel == "imq" else torch.exp(-s)
