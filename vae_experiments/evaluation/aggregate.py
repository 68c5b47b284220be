"""The aggregate posterior q(z) of some images: what it knows of them, and how far it is from the prior."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vae_experiments.evaluation.examined import BLOCK, Examined
from vae_experiments.generation.inference import evaluating
from vae_experiments.models.posteriors.base import Distribution
from vae_experiments.training.randomness import stream

PAIR_VALUES = 2**22  # latents times images times dimensions held at once
PRIOR_DRAWS = 10_000
FEW = 1000  # images at most where log q(z | x) of a latent of another image's takes long


@dataclass(frozen=True)
class Aggregate:
    """Of q(z) = mean over M images of q(z | x), by one draw per image; nats.

    Args:
        images: M.
        mutual_information: between the image and z, E[log q(z | x) - log q(z)]; log M at most.
        marginal_kl: KL(q(z) || p(z)), E[log q(z) - log p(z)]. Too large as a figure of more images than these,
            and far too large once their posteriors hardly overlap.
        lower_kl: the same with each draw's own image left out of q(z): too small instead, far too small
            where `marginal_kl` is far too large; the figure of all the images there could be is in between.
        gaussian_kl: KL between the Gaussians that have the moments of q(z) and of p(z), the part of the
            difference that mean and covariance show, which a limited number of images gives at any mutual
            information; None of too few images for a covariance, and on a sphere, which no Gaussian is like.
    """

    images: int
    mutual_information: float
    marginal_kl: float
    lower_kl: float
    gaussian_kl: float | None

    @property
    def ceiling(self) -> float:
        """The mutual information of images that the latents tell apart without fail, log M."""
        return math.log(self.images)

    @property
    def overlaps(self) -> bool:
        """Whether the images' posteriors overlap enough for `marginal_kl` to speak of more images than these."""
        return self.mutual_information < self.ceiling - 1


def aggregate(examined: Examined) -> Aggregate:
    """Estimates them with all images as the aggregate, each of them counted (Hoffman & Johnson 2016)."""
    vae = examined.vae
    drawn, own, posteriors = [], [], []
    with evaluating(vae) as device:
        for x, generator in examined.blocks("aggregate", device):
            posteriors.append(vae.encode(x))
            z, log_q = posteriors[-1].draw(vae.posterior.noise(BLOCK, generator)[: len(x)].to(device))
            drawn.append(z)
            own.append(log_q.double())
        z, log_q_given_x = torch.cat(drawn), torch.cat(own)
        log_others = _log_others(posteriors, z)
        p = vae.latents()
        log_p = torch.cat([p.log_prob(some).double() for some in z.split(BLOCK)])
        prior = p.sample(PRIOR_DRAWS, stream(examined.seed, "aggregate prior"))
    log_q = torch.logaddexp(log_others, log_q_given_x) - math.log(len(z))
    flat = vae.prior.space == "euclidean"
    return Aggregate(
        images=len(z),
        mutual_information=float((log_q_given_x - log_q).mean()),
        marginal_kl=float((log_q - log_p).mean()),
        lower_kl=float((log_others - math.log(len(z) - 1) - log_p).mean()),
        gaussian_kl=gaussian_kl(z.double().cpu().numpy(), prior.double().cpu().numpy()) if flat else None,
    )


def _log_others(posteriors: Sequence[Distribution], z: Tensor) -> Tensor:
    """log of the sum over all images but its own of q(z | x), for each image's latent [M, D]; float64 [M]."""
    rows = max(1, PAIR_VALUES // (BLOCK * z.shape[1]))
    total = torch.full((len(z),), -torch.inf, dtype=torch.float64, device=z.device)
    for number, q in enumerate(posteriors):
        log_q = torch.cat([torch.atleast_2d(q.log_prob(some[:, None])).double() for some in z.split(rows)])
        log_q[number * BLOCK :][: log_q.shape[1]].fill_diagonal_(-torch.inf)
        total = torch.logaddexp(total, torch.logsumexp(log_q, 1))
    return total


def gaussian_kl(a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
    """KL(N(mean(a), cov(a)) || N(mean(b), cov(b))) of draws [n, D] and [m, D], in nats.

    Without the bias that limited draws have, so that of draws from Gaussians it is right on average; it may then
    be a little below zero. A little is added to the variances: a latent which never moves gives a large
    figure and not infinity.

    Returns:
        None where n or m is D + 2 or less: there is no such estimate then.
    """
    (n, dims), m = a.shape, len(b)
    if min(n, m) <= dims + 2:
        return None
    floor = 1e-6 * np.eye(dims)
    cov_a, cov_b = (np.cov(draws.T).reshape(dims, dims) + floor for draws in (a, b))
    # Of a sample's covariance the inverse is too large, and so is the mean's square, by these.
    precision = np.linalg.inv(cov_b) * (m - dims - 2) / (m - 1)
    trace = np.trace(precision @ cov_a)
    apart = b.mean(0) - a.mean(0)
    squared = apart @ precision @ apart - trace / n - dims / m
    return float(0.5 * (trace + squared - dims + _logdet(cov_b, m) - _logdet(cov_a, n)))


def _logdet(covariance: NDArray[np.float64], draws: int) -> float:
    """log |S| from the covariance of draws from N(., S), without bias: that of a Wishart matrix is known."""
    freedom = draws - torch.arange(1, len(covariance) + 1, dtype=torch.float64)
    bias = float(torch.digamma(freedom / 2).sum()) - len(covariance) * math.log((draws - 1) / 2)
    return float(np.linalg.slogdet(covariance)[1]) - bias
