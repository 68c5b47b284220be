"""A trained model in Python: arrays in, arrays out."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vae_experiments.errors import InputError
from vae_experiments.generation.codes import BLOCK
from vae_experiments.generation.inference import Floats, decode_images, evaluating
from vae_experiments.models.shapes import ImageShape
from vae_experiments.models.vae import VAE
from vae_experiments.runs.trained import TrainedRun
from vae_experiments.use.arrays import Array, as_given, as_tensor, channels_first, check_latents, check_pixels, like


@dataclass(frozen=True)
class TrainedModel:
    """A trained VAE, as `vae_experiments.load` returns it.

    Methods take NumPy arrays or PyTorch tensors and return the same kind, float32, a tensor on the device of the one
    given. Any number of images will do: they are worked through block by block. Nothing keeps a gradient.

    Images are uint8 from 0 to 255 or floats from 0 to 1, in one of three forms: [N, C, H, W], [N, H, W, C], and
    [N, H, W] where C is 1. Images that come out are floats from 0 to 1: each pixel's expected value.
    A model trained with `dataset.binarization` has seen zeros and ones alone; grey images are taken as they are.

    Attributes:
        vae: the PyTorch module behind it, in eval mode, for whatever else is wanted.
        name: the run's name.
        run_id: of its MLflow run; None where MLflow never knew it.
        run: its config and checkpoint; `run.data()` are the images it was trained on.
    """

    vae: VAE
    name: str
    run_id: str | None
    run: TrainedRun

    @classmethod
    def of(cls, run: TrainedRun, device: str = "cpu") -> "TrainedModel":
        """The run's model, on `device`.

        Raises:
            InputError: PyTorch has no such device here, or as `TrainedRun.vae`.
        """
        vae = run.vae()
        try:
            vae = vae.to(torch.device(device))
        except (RuntimeError, AssertionError) as error:  # the latter from a PyTorch built without CUDA
            raise InputError(f"device={device}: {str(error).splitlines()[0]}") from error
        return cls(vae, run.reference.name, run.reference.run_id, run)

    @property
    def image_shape(self) -> ImageShape:
        """(C, H, W) of its images."""
        return self.vae.image_shape

    @property
    def latent_dim(self) -> int:
        """Number of latent dimensions."""
        return self.vae.latent_dim

    def __repr__(self) -> str:
        return f"TrainedModel({self.name!r}, images {list(self.image_shape)}, latent_dim {self.latent_dim})"

    def encode(self, images: Array) -> Array:
        """The codes [N, latent_dim] of images: the means of q(z | x).

        Under a standard normal prior they are in units of that prior's standard deviation.

        Raises:
            InputError: images of another shape, of another type than uint8 and floats, or outside [0, 1].
        """
        return like(self._codes(self._images(images)), images)

    def decode(self, latents: Array) -> Array:
        """The expected images [N, C, H, W], in [0, 1], of latents [N, latent_dim].

        Where the prior lives on a sphere, latents are to be of length 1.

        Raises:
            InputError: latents of another shape or type, or not finite.
        """
        z = as_tensor(latents, "latents")
        check_latents(z, self.latent_dim)
        return like(decode_images(self.vae, z), latents)

    def reconstruct(self, images: Array) -> Array:
        """What the model makes of images: the expected images, in [0, 1], at their codes, in the form they came in.

        Raises:
            InputError: as `encode`.
        """
        codes = self._codes(self._images(images))
        return like(as_given(decode_images(self.vae, torch.from_numpy(codes)), tuple(images.shape)), images)

    def latents(self, n: int, seed: int = 0) -> Floats:
        """n latents drawn from the prior, [n, latent_dim]; the same n and seed give the same ones, on every device.

        Raises:
            InputError: a negative number.
        """
        if n < 0 or seed < 0:
            raise InputError(f"n={n}, seed={seed}: neither may be negative")
        with evaluating(self.vae):
            z: Floats = self.vae.latents().sample(n, torch.Generator().manual_seed(seed)).float().cpu().numpy()
        return z

    def sample(self, n: int, seed: int = 0) -> Floats:
        """n new images [n, C, H, W], in [0, 1]: those of `latents(n, seed)`.

        Raises:
            InputError: a negative number.
        """
        return decode_images(self.vae, torch.from_numpy(self.latents(n, seed)))

    def _images(self, images: NDArray[np.generic] | Tensor) -> Tensor:
        x = as_tensor(images, "images")
        check_pixels(x)
        return channels_first(x, self.image_shape)

    def _codes(self, x: Tensor) -> Floats:
        with evaluating(self.vae) as device:
            blocks = [self.vae.encode(_to_unit(block, device)).mean.float().cpu() for block in x.split(BLOCK)]
        codes: Floats = torch.cat(blocks).numpy()
        return codes


def _to_unit(images: Tensor, device: torch.device) -> Tensor:
    """uint8 or floats in [0, 1] as float32 in [0, 1] on the device."""
    x = images.to(device, torch.float32)
    return x / 255 if images.dtype == torch.uint8 else x
