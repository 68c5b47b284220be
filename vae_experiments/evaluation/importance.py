"""Log-likelihoods by importance weighting."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vae_experiments.evaluation.examined import BLOCK, Examined
from vae_experiments.generation.inference import decoded_at_once, evaluating

DRAWS = 50  # latents per image that are drawn at once: fixed, so that no figure depends on the memory there is
BLOCK_PIXELS = 2**17  # decoded at once: what stays in a processor's cache is read twice as fast


@dataclass(frozen=True)
class LogLikelihood:
    """Estimates for N images.

    Args:
        values: log p(x) in nats, [N]; in expectation a lower bound that rises with the number of latents.
        draw_errors: standard error of each value, by the draws alone (delta method), [N].
    """

    values: NDArray[np.float64]
    draw_errors: NDArray[np.float64]

    @property
    def stderr(self) -> float | None:
        """Of the mean over images, as a sample of all the images there could be; None of one image."""
        return float(self.values.std(ddof=1) / math.sqrt(len(self.values))) if len(self.values) > 1 else None

    @property
    def draw_stderr(self) -> float:
        """Of the mean over these very images: what other draws of latents would change."""
        return float(math.sqrt((self.draw_errors**2).sum()) / len(self.values))


def log_likelihood(examined: Examined, samples: int) -> LogLikelihood:
    """log p(x) ~ log mean_k p(x | z_k) p(z_k) / q(z_k | x), z_k ~ q(z | x) (Burda et al. 2016).

    Args:
        examined: the model and its images.
        samples: latents per image, k.
    """
    vae = examined.vae
    at_once = max(1, decoded_at_once(vae, BLOCK_PIXELS) // BLOCK)  # latents of each image of a block
    values, errors = [], []
    with evaluating(vae) as device:
        p = vae.latents()
        for x, generator in examined.blocks("importance", device):
            q = vae.encode(x)
            weights = []  # log w, [samples, images]
            for start in range(0, samples, DRAWS):
                shape = (DRAWS, BLOCK)
                noise = vae.posterior.noise(math.prod(shape), generator).unflatten(0, shape)
                for some in noise[: samples - start, : len(x)].split(at_once):
                    z, log_q = q.draw(some.to(device))
                    weights.append((vae.log_likelihood(x, z) + p.log_prob(z) - log_q).double().cpu())
            log_w = torch.cat(weights)
            log_mean = torch.logsumexp(log_w, 0) - math.log(samples)
            # Variance of log(mean w): that of w over samples * mean(w)^2.
            relative = (log_w - log_mean).exp()
            values.append(log_mean.numpy())
            errors.append((relative.var(0, correction=0) / samples).sqrt().numpy())
    return LogLikelihood(np.concatenate(values), np.concatenate(errors))
