"""Codes of a dataset, and what they say about the latent dimensions."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vae_experiments.generation.inference import Floats, evaluating, to_unit
from vae_experiments.models.posteriors import DiagonalNormal
from vae_experiments.models.priors import StandardNormal
from vae_experiments.models.vae import VAE
from vae_experiments.training.randomness import stream

# Images encoded at once; fixed, so that no draw depends on a batch size.
BLOCK = 256


@dataclass(frozen=True)
class Codes:
    """q(z | x) of N images, row for row."""

    mean: Floats  # [N, latent_dim]
    logvar: Floats | None  # [N, latent_dim]; None where the posterior is not a diagonal Gaussian
    kl: Floats | None  # [N, latent_dim], nats of each dimension; None likewise, and where the prior is not N(0, I)
    drawn: Floats | None = None  # [N, latent_dim], a draw from each; None where `logvar` says how to make one

    @property
    def activity(self) -> NDArray[np.float64]:
        """Variance over the images of each dimension's mean, [latent_dim] (Burda et al. 2016)."""
        variances: NDArray[np.float64] = self.mean.var(axis=0, dtype=np.float64)
        return variances

    def most_active(self) -> list[int]:
        """All latent dimensions, the most active first; equal ones in their own order."""
        return [int(dim) for dim in np.argsort(-self.activity, kind="stable")]

    def draw(self, rows: NDArray[np.int64], rng: np.random.Generator) -> Floats:
        """A draw from q(z | x) of each row, [len(rows), latent_dim]; where `drawn` has it, always the same."""
        if self.drawn is not None:
            return self.drawn[rows]
        assert self.logvar is not None
        mean = self.mean[rows]
        noise = rng.standard_normal(mean.shape, dtype=np.float32)
        drawn: Floats = mean + np.exp(0.5 * self.logvar[rows]) * noise
        return drawn


def encode_dataset(vae: VAE, images: NDArray[np.uint8]) -> Codes:
    """q(z | x) of uint8 images [N, C, H, W], in memory or memory-mapped, BLOCK at a time."""
    generator = stream(0, "codes")
    blocks = []
    with evaluating(vae) as device:
        for start in range(0, len(images), BLOCK):
            posterior = vae.encode(to_unit(images[start : start + BLOCK], device))
            mean = _floats(posterior.mean)
            if isinstance(posterior, DiagonalNormal):
                standard = isinstance(vae.prior, StandardNormal)
                kl = _floats(posterior.kl_to_standard_normal_per_dim()) if standard else None
                blocks.append(Codes(mean, _floats(posterior.logvar), kl))
            else:
                # A whole block's also for the last: an image's draw is the same with others after it or without.
                noise = vae.posterior.noise(BLOCK, generator)[: len(mean)].to(device)
                blocks.append(Codes(mean, None, None, _floats(posterior.rsample(noise))))
    return Codes(*_joined(blocks, vae.latent_dim))


@dataclass(frozen=True)
class Projection:
    """Codes seen in the plane of their first two principal components."""

    points: Floats  # [N, 2]
    explained: tuple[float, float]  # share of the codes' variance along each


def principal_components(mean: Floats) -> Projection:
    """The first two principal components of codes [N, d], d >= 2.

    Signs are fixed so that each component's largest loading is positive: the same codes always give
    the same picture.
    """
    centred = mean.astype(np.float64) - mean.mean(axis=0, dtype=np.float64)
    variances, vectors = np.linalg.eigh(centred.T @ centred)
    axes = vectors[:, ::-1][:, :2]
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), [0, 1]] < 0, -1.0, 1.0)
    total = max(float(variances.sum()), np.finfo(np.float64).tiny)
    shares = np.clip(variances[::-1][:2] / total, 0.0, 1.0)
    return Projection((centred @ axes).astype(np.float32), (float(shares[0]), float(shares[1])))


def _floats(tensor: torch.Tensor) -> Floats:
    values: Floats = tensor.float().cpu().numpy()
    return values


def _joined(blocks: list[Codes], latent_dim: int) -> tuple[Floats, Floats | None, Floats | None, Floats | None]:
    if not blocks:
        none = np.zeros((0, latent_dim), np.float32)
        return none, none, none, None
    logvars = [block.logvar for block in blocks if block.logvar is not None]
    kls = [block.kl for block in blocks if block.kl is not None]
    drawn = [block.drawn for block in blocks if block.drawn is not None]
    return (
        np.concatenate([block.mean for block in blocks]),
        np.concatenate(logvars) if logvars else None,
        np.concatenate(kls) if kls else None,
        np.concatenate(drawn) if drawn else None,
    )
