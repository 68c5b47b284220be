"""What people hand to a model: checked, and brought to the one form that networks take."""

from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vae_experiments.errors import InputError
from vae_experiments.generation.inference import Floats
from vae_experiments.models.shapes import ImageShape

Array = TypeVar("Array", NDArray[np.generic], Tensor)


def as_tensor(values: object, name: str) -> Tensor:
    """A NumPy array or tensor as a tensor, sharing memory where it can.

    Raises:
        InputError: it is neither, or holds no numbers that PyTorch knows.
    """
    if isinstance(values, Tensor):
        return values.detach()
    if not isinstance(values, np.ndarray):
        raise InputError(f"{name}: a {type(values).__name__}; give a NumPy array or a PyTorch tensor")
    if values.dtype.kind not in "biuf":
        raise InputError(f"{name}: of type {values.dtype}; give numbers")
    # In native byte order, writable or not, and without the negative strides that PyTorch does not take.
    native = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    return torch.from_numpy(native if native.flags.writeable else native.copy())


def like(values: Floats, given: Array) -> Array:
    """`values` as what was given: a float32 array, or a float32 tensor on the given one's device."""
    if isinstance(given, Tensor):
        return torch.from_numpy(values).to(given.device)
    return values


def channels_first(images: Tensor, shape: ImageShape) -> Tensor:
    """Images as [N, C, H, W], a view of what was given.

    Args:
        images: [N, C, H, W], [N, H, W, C], or with one channel [N, H, W].
        shape: (C, H, W) of what the model was trained on. Where it fits both ways round, channels come first.

    Raises:
        InputError: they have another shape.
    """
    channels, height, width = shape
    given = tuple(images.shape)
    if given[1:] == shape and len(given) == 4:
        return images
    if given[1:] == (height, width, channels):
        return images.movedim(3, 1)
    if channels == 1 and given[1:] == (height, width):
        return images[:, None]
    forms = [f"[N, {channels}, {height}, {width}]", f"[N, {height}, {width}, {channels}]"]
    forms += [f"[N, {height}, {width}]"] if channels == 1 else []
    single = given in (shape, (height, width, channels)) or (channels == 1 and given == (height, width))
    cure = "; of one image give images[None]" if single else ""
    raise InputError(f"images: of shape {list(given)}; this model takes {' or '.join(forms)}{cure}")


def as_given(images: Floats, given: tuple[int, ...]) -> Floats:
    """Images [N, C, H, W] in the form, of the three that `channels_first` takes, that has the shape `given`."""
    if images.shape == given:
        return images
    return images[:, 0] if len(given) == 3 else np.ascontiguousarray(np.moveaxis(images, 1, 3))


def check_pixels(images: Tensor) -> None:
    """Raises InputError unless images are uint8, or floats in [0, 1]."""
    if images.dtype == torch.uint8:
        return
    if not images.dtype.is_floating_point:
        raise InputError(f"images: of type {_name(images)}; give uint8 from 0 to 255, or floats from 0 to 1")
    if images.numel() == 0:
        return
    low, high = (float(bound) for bound in torch.aminmax(images))
    if not (low >= 0 and high <= 1):  # a NaN is neither
        raise InputError(
            f"images: {_name(images)} from {low:g} to {high:g}; floats must lie in [0, 1] (uint8: 0 to 255)"
        )


def check_latents(latents: Tensor, latent_dim: int) -> None:
    """Raises InputError unless latents are finite floats [N, latent_dim]."""
    if latents.ndim != 2 or latents.shape[1] != latent_dim:
        single = "; of one latent give latents[None]" if tuple(latents.shape) == (latent_dim,) else ""
        raise InputError(f"latents: of shape {list(latents.shape)}; this model takes [N, {latent_dim}]{single}")
    if not latents.dtype.is_floating_point:
        raise InputError(f"latents: of type {_name(latents)}; give floats")
    if not bool(torch.isfinite(latents).all()):
        raise InputError("latents: some are not finite")


def _name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
