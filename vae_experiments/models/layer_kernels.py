"""Which layers are computed by the kernels compiled for this CPU, and of which batches."""

from functools import cache

import torch
from torch import Tensor, nn

from vae_experiments.kernels import compiled
from vae_experiments.kernels.chain import Kernel, Link, chained
from vae_experiments.kernels.convolution import MOST_KERNEL, Convolution
from vae_experiments.kernels.dense import FORMATS, Dense

MOST_ROWS = 8192  # of a batch for a dense layer's kernel: each thread keeps sums for all of them

Layer = nn.Conv2d | nn.ConvTranspose2d | nn.Linear


def by_kernels(layer: Layer, x: Tensor) -> Tensor | None:
    """What kernels compiled for this CPU make of x as it is, or as autocast takes it; None where they do not."""
    precision = kernels_format(x)
    if precision is None or (found := kernel_of(layer, tuple(x.shape), precision)) is None:
        return None
    assert layer.bias is not None
    return chained(x, precision, [Link(found, layer.weight, layer.bias)])


def kernels_format(x: Tensor) -> torch.dtype | None:
    """The number format of a product with x, if it is one that there may be kernels for."""
    if not x.is_cpu or type(x) not in (Tensor, nn.Parameter) or torch.compiler.is_compiling():
        return None
    if torch.is_autocast_enabled("cpu"):
        precision = torch.get_autocast_dtype("cpu")
        taken = x.dtype in (torch.float32, torch.bfloat16)
    else:  # where x is not of the weights' format, that is PyTorch's to refuse
        precision, taken = torch.float32, x.dtype == torch.float32
    return precision if taken else None


def kernel_of(layer: Layer, shape: tuple[int, ...], precision: torch.dtype) -> Kernel | None:
    """What computes the layer of a batch of that shape and format; None if PyTorch does."""
    weight, bias = layer.weight, layer.bias
    if bias is None or not all(p.is_cpu and p.dtype == torch.float32 for p in (weight, bias)):
        return None
    found = _dense(layer, shape, precision) if isinstance(layer, nn.Linear) else _convolution(layer, shape)
    # Asked last, and only where they would be taken: it may have to compile them.
    return None if found is None or compiled.kernels(precision) is None else found.kernel_for(shape, weight, precision)


def _dense(layer: nn.Linear, shape: tuple[int, ...], precision: torch.dtype) -> Dense | None:
    outputs, inputs = layer.weight.shape
    if precision not in FORMATS or len(shape) != 2 or shape[1] != inputs or layer.bias.shape != (outputs,):
        return None
    fits = layer.weight.is_contiguous() and outputs * inputs > 0 and 0 < shape[0] <= MOST_ROWS
    return Dense(inputs, outputs) if fits else None


def _convolution(layer: nn.Conv2d | nn.ConvTranspose2d, shape: tuple[int, ...]) -> Convolution | None:
    if len(shape) != 4 or shape[1] != layer.in_channels:  # PyTorch takes single images, and refuses other channels
        return None
    convolution = convolution_of(layer)
    return convolution if convolution is not None and min(convolution.output(shape[2], shape[3])) > 0 else None


def convolution_of(layer: nn.Conv2d | nn.ConvTranspose2d) -> Convolution | None:
    """The convolution that the layer is, None if it is not one that the kernels compute."""
    if layer.groups != 1 or layer.dilation != (1, 1) or layer.padding_mode != "zeros":
        return None
    transposed = isinstance(layer, nn.ConvTranspose2d)
    return _square(layer.kernel_size, layer.stride, layer.padding, transposed, layer.output_padding)


@cache
def _square(
    kernel: tuple[int, ...], stride: tuple[int, ...], padding: object, transposed: bool, missing: tuple[int, ...]
) -> Convolution | None:
    sides = kernel[0], stride[0], padding[0] if isinstance(padding, tuple) else -1
    if (kernel, stride, padding) != tuple((side, side) for side in sides):
        return None
    if kernel[0] > MOST_KERNEL or stride[0] > kernel[0] or not 0 <= sides[2] < kernel[0] or max(missing) >= stride[0]:
        return None
    return Convolution(*sides, transposed, (missing[0], missing[1]))
