"""The shapes of images, and where latents live."""

from typing import Literal

ImageShape = tuple[int, int, int]  # (C, H, W)

# R^latent_dim, or the unit sphere in it: posterior and prior must agree, or their densities cannot be compared.
Space = Literal["euclidean", "sphere"]
