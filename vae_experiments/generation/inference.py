"""Running a trained model without leaving a trace: modes restored, no gradients, memory bounded."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from vae_experiments.models.vae import VAE

# Pixels decoded at once: 334 images of MNIST, whose widest activations (32 channels) take 34 MB in float32. Larger
# blocks are no faster, and what they take stays with the process.
BLOCK_PIXELS = 2**18
WIDTH = 32  # channels; a likelihood with more parameters than that has fewer pixels decoded at once

Floats = NDArray[np.float32]


@contextmanager
def evaluating(vae: VAE) -> Iterator[torch.device]:
    """Eval mode and no gradients inside; gives the model's device.

    Every module gets its own mode back afterwards: a layer that was frozen in eval mode inside a
    training model stays frozen.
    """
    modes = [(module, module.training) for module in vae.modules()]
    first = next(vae.parameters(), None)
    try:
        vae.eval()
        with torch.inference_mode():
            yield torch.device("cpu") if first is None else first.device
    finally:
        for module, training in modes:
            module.training = training


def to_unit(images: NDArray[np.uint8], device: torch.device) -> torch.Tensor:
    """uint8 images [B, C, H, W] as floats in [0, 1] on the device."""
    return torch.from_numpy(np.array(images)).to(device).float() / 255


def decoded_at_once(vae: VAE, block_pixels: int | None = None) -> int:
    """Latents that are decoded together; `block_pixels` instead of BLOCK_PIXELS."""
    channels, height, width = vae.image_shape
    wider = max(1.0, channels * vae.likelihood.params_per_channel / WIDTH)
    return max(1, int((block_pixels or BLOCK_PIXELS) / (height * width * wider)))


def decode_images(vae: VAE, z: torch.Tensor) -> Floats:
    """The expected images [N, C, H, W], in [0, 1], of latents [N, latent_dim] from any device."""
    with evaluating(vae) as device:
        parts = [vae.images(part.to(device, torch.float32)).float().cpu() for part in z.split(decoded_at_once(vae))]
    images: Floats = torch.cat(parts).numpy()
    return images
