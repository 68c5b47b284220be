"""A decoder as a short list of operations and one run of weights: what the page's own runtime computes with."""

import base64
import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vae_experiments.generation.inference import evaluating
from vae_experiments.models.architectures.base import ACTIVATIONS
from vae_experiments.models.architectures.resnet import Enlarge, ResidualBlock
from vae_experiments.models.layers import Conv2d, ConvTranspose2d, Linear, Unflatten
from vae_experiments.models.likelihoods import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    Gaussian,
)
from vae_experiments.models.sequence import Layers
from vae_experiments.models.vae import VAE

Op = dict[str, Any]

# Half of what a level of 255 is: with it a picture's levels are those of the exact weights, or one beside them.
UNSEEN = 0.5 / 255
TRIED = 64  # latents on which the rounded weights are tried

# What turns the decoder's output into the picture that is shown, by the name of the page's function.
MEANS = {
    Bernoulli: "sigmoid",
    Gaussian: "sigmoid",
    ContinuousBernoulli: "continuousBernoulli",
    Categorical: "categorical",
    DiscretizedLogistic: "logistic",
    DiscretizedLogisticMixture: "mixture",
}


class UnknownLayerError(ValueError):
    """The decoder holds what the page cannot compute; the message says what, in a few words."""


@dataclass
class _Writer:
    """Weights, one after the other. Images are [H, W, C] in the page, so that a tap's products are side by side."""

    arrays: list[NDArray[np.float32]] = field(default_factory=list)
    size: int = 0

    def put(self, weight: Tensor, bias: Tensor | None, outputs: int) -> int:
        """Where the layer's weights begin; its biases come first, zeros where it has none."""
        start = self.size
        for tensor in (torch.zeros(outputs) if bias is None else bias, weight):
            self.arrays.append(tensor.detach().float().cpu().contiguous().numpy().ravel())
            self.size += self.arrays[-1].size
        return start


def program(vae: VAE, codes: NDArray[np.float32], limit: int) -> dict[str, Any]:
    """The decoder and the likelihood's mean for the page, weights in float16 where no picture shows it, else float32.

    Args:
        vae: the model, on any device.
        codes: latents [N, latent_dim] to try the rounded weights on.
        limit: bytes that the weights may take.

    Raises:
        UnknownLayerError: the page cannot compute it, or it is too large for one.
        ValueError: its images are not finite.
    """
    kind = MEANS.get(type(vae.likelihood))
    if kind is None:
        raise UnknownLayerError(f"its likelihood is {_named(vae.likelihood)}")
    writer = _Writer()
    # Apart from the model: on the CPU in float32, whatever a training run's device and autocast type.
    with evaluating(vae), torch.autocast("cpu", enabled=False), _without_autocast(vae):
        decoder = copy.deepcopy(vae.decoder).cpu()
        ops, params = _read(decoder, torch.zeros(1, vae.latent_dim), writer)
        _, height, width = vae.image_shape
        if params.shape[2:] != (height, width):
            raise UnknownLayerError(f"its output is {list(params.shape[1:])}")
        too_large = UnknownLayerError(f"its {writer.size:,} weights are too many for a page")
        if writer.size * 2 > limit:
            raise too_large
        halves = _may_be_rounded(vae, decoder, codes)
        if not halves and writer.size * 4 > limit:
            raise too_large
    weights = np.concatenate(writer.arrays).astype("<f2" if halves else "<f4")
    return {
        "ops": ops,
        "mean": {"kind": kind, "per": vae.likelihood.params_per_channel},
        "format": "float16" if halves else "float32",
        "weights": base64.b64encode(weights.tobytes()).decode(),
    }


def _without_autocast(vae: VAE) -> torch.autocast:
    device = next(vae.parameters()).device.type
    return torch.autocast(device, enabled=False)


def _may_be_rounded(vae: VAE, decoder: nn.Module, codes: NDArray[np.float32]) -> bool:
    """Whether the decoder's pictures stay the same, for the eye, with its weights in float16."""
    z = torch.from_numpy(np.ascontiguousarray(codes[:TRIED]))
    z = torch.cat([z, vae.prior.nearest(2 * z)])
    rounded = copy.deepcopy(decoder).half().float()
    exact = vae.likelihood.mean(decoder(z))
    if not exact.isfinite().all():
        raise ValueError("the images hold values that are not finite")
    off = (exact - vae.likelihood.mean(rounded(z))).abs().max()
    return bool(off < UNSEEN)  # False of a NaN


def _read(module: nn.Module, x: Tensor, writer: _Writer) -> tuple[list[Op], Tensor]:
    """The operations of a module, and what it makes of x: later layers' shapes follow from it.

    By the very type: a subclass may compute something else.
    """
    if type(module) is nn.Sequential or type(module) is Layers:
        ops: list[Op] = []
        for child in module:
            more, x = _read(child, x, writer)
            ops += more
        return ops, x
    if type(module) is ResidualBlock:
        branch, _ = _read(module.branch, x, writer)
        return [{"op": "residual", "branch": branch}], module(x)
    y: Tensor = module(x)
    return [_one(module, x, y, writer)], y


def _one(module: nn.Module, x: Tensor, y: Tensor, writer: _Writer) -> Op:
    kind = type(module)
    if kind in _ACTIVATIONS and not _set_apart(module):
        return {"op": _ACTIVATIONS[kind]}
    if kind in (Linear, nn.Linear) and x.ndim == 2:
        assert isinstance(module, nn.Linear)
        at = writer.put(module.weight.T, module.bias, module.out_features)
        return {"op": "dense", "inputs": module.in_features, "outputs": module.out_features, "at": at}
    if kind is Unflatten:
        return {"op": "shape", "order": "hwc", "out": _hwc(y)}
    if kind is nn.Unflatten and y.ndim == 4:
        return {"op": "shape", "order": "chw", "out": _hwc(y)}
    if kind is Enlarge:
        return {"op": "enlarge", "in": _hwc(x), "out": _hwc(y)}
    if kind in (Conv2d, nn.Conv2d, ConvTranspose2d, nn.ConvTranspose2d):
        assert isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
        plain = module.groups == 1 and module.padding_mode == "zeros" and set(module.dilation) == {1}
        if plain and not isinstance(module.padding, str):
            transposed = isinstance(module, nn.ConvTranspose2d)
            # To [height, width, inputs, outputs].
            weight = module.weight.permute(2, 3, 0, 1) if transposed else module.weight.permute(2, 3, 1, 0)
            return {
                "op": "transposed" if transposed else "convolution",
                "in": _hwc(x),
                "out": _hwc(y),
                "kernel": list(module.kernel_size),
                "stride": list(module.stride),
                "padding": list(module.padding),
                "at": writer.put(weight, module.bias, module.out_channels),
            }
    raise UnknownLayerError(f"its decoder has a layer {_named(module)}")


_ACTIVATIONS = {type(make()): name for name, make in ACTIVATIONS.items()}


def _set_apart(module: nn.Module) -> bool:
    """Whether an activation has settings other than those that `architecture.activation` gives it."""
    return repr(module).replace(", inplace=True", "").replace("inplace=True", "") != repr(type(module)())


def _hwc(x: Tensor) -> list[int]:
    _, channels, height, width = x.shape
    return [height, width, channels]


def _named(module: nn.Module) -> str:
    return type(module).__name__
