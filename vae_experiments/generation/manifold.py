"""The manifold: the decoder's images over a grid of two latent dimensions."""

from statistics import NormalDist

import numpy as np
import torch

from vae_experiments.generation.inference import Floats, decode_images
from vae_experiments.models.vae import VAE


def normal_quantiles(n: int, low: float = 0.05, high: float = 0.95) -> Floats:
    """Standard normal quantiles at n evenly spaced probabilities from `low` to `high`, [n], ascending."""
    normal = NormalDist()
    return np.array([normal.inv_cdf(p) for p in np.linspace(low, high, n).tolist()], np.float32)


def manifold(
    vae: VAE,
    n: int = 40,
    low: float = 0.05,
    high: float = 0.95,
    dims: tuple[int, int] = (0, 1),
    at: Floats | None = None,
) -> Floats:
    """Expected images on a grid of normal quantiles, [n, n, C, H, W]; [1, n, C, H, W] if latent_dim is 1.

    Laid out as a plot is read: `dims[0]` grows from left to right, `dims[1]` from the bottom row (the
    last index of the first axis) to the top. On a sphere a latent is then scaled to length 1. Decoded at
    once while it fits a block of memory.

    Args:
        vae: the model.
        n: images along each axis.
        low: probability of the lowest quantile.
        high: probability of the highest.
        dims: the latent dimensions along x and y; only the first counts with one latent dimension.
        at: values of the other dimensions, [latent_dim]; the prior's centre by default.
    """
    along = torch.from_numpy(normal_quantiles(n, low, high))
    rows = 1 if vae.latent_dim == 1 else n
    base = vae.prior.centre() if at is None else torch.from_numpy(np.asarray(at, np.float32))
    z = base.repeat(rows, n, 1)
    z[:, :, dims[0]] = along
    if rows > 1:
        z[:, :, dims[1]] = along.flip(0)[:, None]
    images = decode_images(vae, vae.prior.nearest(z).reshape(rows * n, -1))
    return images.reshape(rows, n, *vae.image_shape)
