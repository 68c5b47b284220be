"""Images out of a trained model: samples, reconstructions, traversals, interpolations, classes."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from vae_experiments.generation.codes import Codes, encode_dataset
from vae_experiments.generation.inference import Floats, decode_images, decoded_at_once, evaluating
from vae_experiments.models.vae import VAE


def prior_samples(vae: VAE, n: int, generator: torch.Generator) -> Floats:
    """The expected images [n, C, H, W], in [0, 1], of n latents drawn from the prior."""
    with evaluating(vae):
        z = vae.latents().sample(n, generator)
    return decode_images(vae, z)


def prior_draws(vae: VAE, n: int, generator: torch.Generator) -> Floats:
    """Images [n, C, H, W], in [0, 1], whose very pixels are drawn: from the prior, then from the likelihood."""
    with evaluating(vae) as device:
        z = vae.latents().sample(n, generator)
        # On the CPU, where the generator is: the same draws on every device.
        params = (vae.decode(some.to(device)).cpu() for some in z.split(decoded_at_once(vae)))
        draws = [vae.likelihood.sample(each, generator) for each in params]
    drawn: Floats = torch.cat(draws).numpy()
    return drawn


def reconstructions(vae: VAE, images: NDArray[np.uint8]) -> Floats:
    """The expected images [N, C, H, W] at the codes of uint8 images [N, C, H, W]."""
    return decode_images(vae, torch.from_numpy(encode_dataset(vae, images).mean))


def traversals(vae: VAE, dims: Sequence[int], values: Floats, at: Floats | None = None) -> Floats:
    """Each of `dims` run through `values` [S] with the others held, [len(dims), S, C, H, W].

    The others stay at `at`, [latent_dim], the prior's centre by default. On a sphere a latent is then scaled to
    length 1.
    """
    base = vae.prior.centre() if at is None else torch.from_numpy(np.asarray(at, np.float32))
    z = base.repeat(len(dims), len(values), 1)
    for row, dim in enumerate(dims):
        z[row, :, dim] = torch.from_numpy(np.asarray(values, np.float32))
    images = decode_images(vae, vae.prior.nearest(z).reshape(-1, vae.latent_dim))
    return images.reshape(len(dims), len(values), *vae.image_shape)


def interpolations(vae: VAE, start: NDArray[np.uint8], end: NDArray[np.uint8], steps: int = 10) -> Floats:
    """Images along the straight line between the codes of pairs of images, [P, steps, C, H, W]; along a great circle,
    in equal steps too, where the prior lives on a sphere.

    `start` and `end` are uint8 [P, C, H, W]; the first and last of the steps are their reconstructions.
    """
    a, b = (torch.from_numpy(encode_dataset(vae, images).mean)[:, None] for images in (start, end))
    weight = torch.linspace(0, 1, steps)[:, None]
    z = vae.prior.between(a, b, weight)
    return decode_images(vae, z.reshape(-1, vae.latent_dim)).reshape(len(start), steps, *vae.image_shape)


def class_images(
    vae: VAE,
    codes: Codes,
    labels: NDArray[np.int64],
    classes: Sequence[int],
    per_class: int,
    rng: np.random.Generator,
) -> Floats:
    """New images of classes, [len(classes), per_class, C, H, W], decoded around each class's codes.

    A latent of a class is a draw from q(z | x) of one of its images, chosen at random: a sample of the
    class's aggregate posterior, so classes of any shape, or with a single image, keep to their own region. Codes
    that come with one draw each (`Codes.drawn`) give a class of fewer than `per_class` images some pictures twice.

    Raises:
        ValueError: one of the classes has no image among the codes.
    """
    rows = []
    for label in classes:
        of_class = np.flatnonzero(labels == label)
        if len(of_class) == 0:
            raise ValueError(f"class {label} has no image among the {len(labels)} encoded ones")
        # Without replacement while the class lasts, so that a small class shows all it has.
        rounds = -(-per_class // len(of_class))
        rows.append(np.concatenate([rng.permutation(of_class) for _ in range(rounds)])[:per_class])
    z = codes.draw(np.concatenate(rows), rng)
    return decode_images(vae, torch.from_numpy(z)).reshape(len(classes), per_class, *vae.image_shape)
