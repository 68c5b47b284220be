"""Layers one after another; those that kernels compute, and the ReLUs behind them, at once."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from vae_experiments.kernels.chain import Link, chained
from vae_experiments.models.layer_kernels import kernel_of, kernels_format
from vae_experiments.models.layers import KINDS, Compiled, Flatten, Unflatten


class Layers(nn.Sequential):
    """As nn.Sequential; see this module."""

    def forward(self, x: Tensor) -> Tensor:
        return through(tuple(self), x)


def through(layers: Sequence[nn.Module], x: Tensor) -> Tensor:
    """What comes out of these layers, one after another, of x."""
    while layers:
        precision = kernels_format(x)
        links, passed = ([], 0) if precision is None else _chain(layers, tuple(x.shape), precision)
        if precision is not None and links:
            x = chained(x, precision, links)
        else:
            x, passed = layers[0](x), 1
            if type(layers[0]) in KINDS and _is_rectified(layers, 0):
                x, passed = functional.relu(x, inplace=not torch.is_grad_enabled()), 2  # nobody else has seen x
        layers = layers[passed:]
    return x


def _chain(layers: Sequence[nn.Module], shape: tuple[int, ...], precision: torch.dtype) -> tuple[list[Link], int]:
    """The first of the layers that kernels compute of a batch, and how many they are, those between them counted."""
    links: list[Link] = []
    passed = at = 0
    while at < len(layers):
        layer = layers[at]
        if _is_watched(layer):
            break
        if links and (reshaped := _reshaped(layer, shape)) is not None:  # between two kernels, there is nothing to do
            shape, at = reshaped, at + 1
            continue
        # By its very type: a subclass may compute something else.
        if not isinstance(layer, Compiled) or type(layer) not in KINDS or not layer.compiled:
            break
        found = kernel_of(layer, shape, precision)
        if found is None:
            break
        assert layer.bias is not None
        relu = _is_rectified(layers, at)
        links.append(Link(found, layer.weight, layer.bias, relu))
        shape, at = found.shape, at + 1 + relu
        passed = at
    return links, passed


def _reshaped(layer: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape that a layer which does nothing else gives a batch of that one; None of other layers."""
    if type(layer) is Flatten and len(shape) == 4:
        return shape[0], math.prod(shape[1:])
    if type(layer) is Unflatten and shape[1:] == (math.prod(layer.shape),):
        height, width, channels = layer.shape
        return shape[0], channels, height, width
    return None


def _is_rectified(layers: Sequence[nn.Module], i: int) -> bool:
    """Whether a ReLU is behind layer i that nobody looks between."""
    return (
        len(layers) > i + 1
        and type(layers[i + 1]) is nn.ReLU
        and not _is_watched(layers[i + 1])
        and not _is_watched(layers[i])
    )


def _is_watched(layer: nn.Module) -> bool:
    """Whether somebody is told when the layer is called."""
    return bool(layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks)
