"""Layers that compute what PyTorch's compute, in the order in which a CPU, or a GPU, does it fast.

A channels_last batch [B, C, H, W] lies in memory as [B, H, W, C]. Each layer here keeps it so, forwards and
backwards: a copy into another order costs more than many a convolution.
"""

import math
from collections.abc import Sequence
from functools import cache, reduce

import torch
from torch import Tensor, nn
from torch.nn import functional

from vae_experiments.kernels import compiled
from vae_experiments.kernels.chain import Kernel, Link, chained
from vae_experiments.kernels.compiled import has_tiles
from vae_experiments.kernels.convolution import MOST_KERNEL, Convolution
from vae_experiments.kernels.dense import FORMATS, Dense
from vae_experiments.models.thin_convolution import ThinConvolution

MOST_ROWS = 8192  # of a batch for a dense layer's kernel: each thread keeps sums for all of them
THIN = 4  # output channels up to which a convolution is faster as a product and shifted sums


class Flatten(nn.Module):
    """[B, C, H, W] to [B, H * W * C]: channels_last images without a copy."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).flatten(1)


class Unflatten(nn.Module):
    """[B, H * W * C] to channels_last [B, C, H, W], without a copy."""

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.shape = (height, width, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(-1, *self.shape).permute(0, 3, 1, 2)


class SquareMeans(nn.Module):
    """[B, C, H, W] to [B, C, H / side, W / side], the mean of each square; many times as fast as AvgPool2d on a CPU."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        x = reduce(torch.add, [x[..., i :: self.side, :] for i in range(self.side)])
        return reduce(torch.add, [x[..., i :: self.side] for i in range(self.side)]) / self.side**2


class RepeatedOverSquares(nn.Module):
    """[B, C, H, W] to [B, C, H * side, W * side], each value over its square; several times as fast as Upsample."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        x = torch.stack([x] * self.side, -1).flatten(-2)
        return torch.stack([x] * self.side, -2).flatten(-3, -2)


class ConvTranspose2d(nn.ConvTranspose2d):
    """Trains with its bias apart, since oneDNN takes three times as long for a gradient of the two together."""

    rewritten = True
    compiled = True

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        if output_size is None and (y := by_kernels(self, x)) is not None:
            return y
        if not self.rewritten or not torch.is_grad_enabled():
            return super().forward(x, output_size)
        assert output_size is None
        assert self.bias is not None
        assert not isinstance(self.padding, str)
        y = functional.conv_transpose2d(
            x, self.weight, None, self.stride, self.padding, self.output_padding, self.groups, self.dilation
        )
        return add_bias(y, self.bias)


class Conv2d(nn.Conv2d):
    """Trains fast also when it has few output channels, if its output is as large as its input.

    As a matrix such a kernel would be wide and flat, which oneDNN and cuDNN are slow at. Here every input pixel is
    multiplied with all the kernel's k * k taps at once, a product [O * k * k, C] x [C, B * H * W], and the taps' images
    are summed, each shifted to where it belongs; in float32, whatever the product's format. Only a CPU's tile units
    (AMX) are faster the usual way, in their own format.
    """

    rewritten = True
    compiled = True

    def forward(self, x: Tensor) -> Tensor:
        if (computed := by_kernels(self, x)) is not None:
            return computed
        if not self.rewritten or not torch.is_grad_enabled() or x.device.type not in ("cpu", "cuda"):
            return super().forward(x)
        assert self.bias is not None
        assert not isinstance(self.padding, str)
        if not self._is_thin or (x.device.type == "cpu" and x.dtype == torch.bfloat16 and has_tiles()):
            if x.device.type == "cpu":
                return super().forward(x)
            unbiased = functional.conv2d(x, self.weight, None, self.stride, self.padding, self.dilation, self.groups)
            return add_bias(unbiased, self.bias)
        y: Tensor = ThinConvolution.apply(x, self.weight.to(x.dtype))  # type: ignore[no-untyped-call]
        return y + self.bias[:, None, None]

    @property
    def _is_thin(self) -> bool:
        kernel = self.kernel_size[0]
        return (
            self.out_channels <= THIN < self.in_channels
            and kernel % 2 == 1
            and self.padding == (kernel // 2, kernel // 2)
            and self.stride == (1, 1)
        )


class Linear(nn.Linear):
    """By kernels compiled for the CPU, where they are."""

    compiled = True

    def forward(self, x: Tensor) -> Tensor:
        y = by_kernels(self, x)
        return super().forward(x) if y is None else y


Compiled = Conv2d | ConvTranspose2d | Linear  # layers that may be computed by the kernels of vae_experiments.kernels
KINDS = (Conv2d, ConvTranspose2d, Linear)


def compute_as_pytorch(network: nn.Module) -> None:
    """Has the layers of `network` compute what they compute in PyTorch's own way, to compare the two."""
    compute_without_kernels(network)
    for layer in network.modules():
        if isinstance(layer, Conv2d | ConvTranspose2d):
            layer.rewritten = False


def compute_without_kernels(network: nn.Module) -> None:
    """Has the layers of `network` leave the kernels of vae_experiments.kernels alone."""
    for layer in network.modules():
        if isinstance(layer, Compiled):
            layer.compiled = False


def has_compiled_layers(network: nn.Module, precision: torch.dtype) -> bool:
    """Whether `network` has layers that the kernels for that number format may compute."""
    layers = [layer for layer in network.modules() if isinstance(layer, Compiled) and layer.compiled]
    return any(not isinstance(layer, Linear) or precision in FORMATS for layer in layers)


class Layers(nn.Sequential):
    """One layer after another; those that kernels compute, and the ReLUs behind them, at once."""

    def forward(self, x: Tensor) -> Tensor:
        return through(tuple(self), x)


def through(layers: Sequence[nn.Module], x: Tensor) -> Tensor:
    """What comes out of these layers, one after another, of x."""
    while layers:
        precision = _kernels_format(x)
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
        if is_watched(layer):
            break
        if links and (reshaped := _reshaped(layer, shape)) is not None:  # between two kernels, there is nothing to do
            shape, at = reshaped, at + 1
            continue
        # By its very type: a subclass may compute something else.
        found = kernel_of(layer, shape, precision) if isinstance(layer, Compiled) and type(layer) in KINDS else None
        if found is None:
            break
        assert isinstance(layer, Compiled)
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
        and not is_watched(layers[i + 1])
        and not is_watched(layers[i])
    )


def is_watched(layer: nn.Module) -> bool:
    """Whether somebody is told when the layer is called."""
    return bool(layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks)


def by_kernels(layer: Compiled, x: Tensor) -> Tensor | None:
    """What kernels compiled for this CPU make of x as it is, or as autocast takes it; None where they do not."""
    precision = _kernels_format(x)
    if precision is None or (found := kernel_of(layer, tuple(x.shape), precision)) is None:
        return None
    assert layer.bias is not None
    return chained(x, precision, [Link(found, layer.weight, layer.bias)])


def _kernels_format(x: Tensor) -> torch.dtype | None:
    """The number format of a product with x, if it is one that there may be kernels for."""
    if not x.is_cpu or type(x) not in (Tensor, nn.Parameter) or torch.compiler.is_compiling():
        return None
    if torch.is_autocast_enabled("cpu"):
        precision = torch.get_autocast_dtype("cpu")
        taken = x.dtype in (torch.float32, torch.bfloat16)
    else:  # where x is not of the weights' format, that is PyTorch's to refuse
        precision, taken = torch.float32, x.dtype == torch.float32
    return precision if taken else None


def kernel_of(layer: Compiled, shape: tuple[int, ...], precision: torch.dtype) -> Kernel | None:
    """What computes the layer of a batch of that shape and format; None if PyTorch does."""
    weight, bias = layer.weight, layer.bias
    if not layer.compiled or bias is None or not all(p.is_cpu and p.dtype == torch.float32 for p in (weight, bias)):
        return None
    found = _dense(layer, shape, precision) if isinstance(layer, Linear) else _convolution(layer, shape)
    # Asked last, and only where they would be taken: it may have to compile them.
    return None if found is None or compiled.kernels(precision) is None else found.kernel_for(shape, weight, precision)


def _dense(layer: Linear, shape: tuple[int, ...], precision: torch.dtype) -> Dense | None:
    outputs, inputs = layer.weight.shape
    if precision not in FORMATS or len(shape) != 2 or shape[1] != inputs or layer.bias.shape != (outputs,):
        return None
    fits = layer.weight.is_contiguous() and outputs * inputs > 0 and 0 < shape[0] <= MOST_ROWS
    return Dense() if fits else None


def _convolution(layer: Conv2d | ConvTranspose2d, shape: tuple[int, ...]) -> Convolution | None:
    if len(shape) != 4 or shape[1] != layer.in_channels:  # PyTorch takes single images, and refuses other channels
        return None
    convolution = kernel_of_convolution(layer)
    return convolution if convolution is not None and min(convolution.output(shape[2], shape[3])) > 0 else None


def kernel_of_convolution(layer: Conv2d | ConvTranspose2d) -> Convolution | None:
    """Where the layer's taps lie, None if it is not one that the kernels compute."""
    if layer.groups != 1 or layer.dilation != (1, 1) or layer.padding_mode != "zeros":
        return None
    transposed = isinstance(layer, ConvTranspose2d)
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


class LateBlock(nn.Module):
    """A convolution and its ReLU that join the training after a while (Net2DeeperNet, Chen et al. 2016).

    Until then training leaves them out, which costs nothing and, where they begin as the identity (`become_identity`),
    changes no value. In eval mode they are always computed.

    Args:
        convolution: of as many input as output channels, to the same size.
        start: the training passes that are made without it; counted in the buffer `passes`.
    """

    passes: Tensor

    def __init__(self, convolution: nn.Conv2d, start: int) -> None:
        super().__init__()
        self.convolution = convolution
        self.activation = nn.ReLU()
        self.start = start
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))
        self._has_joined = False

    def become_identity(self) -> None:
        """Of inputs that are not negative, as behind a ReLU."""
        nn.init.dirac_(self.convolution.weight)
        if self.convolution.bias is not None:
            nn.init.zeros_(self.convolution.bias)

    @property
    def waits(self) -> bool:
        """Whether it has not joined the training yet."""
        # Once is enough: an accelerator's counter is not to be waited for in every step.
        self._has_joined = self._has_joined or self.passes.item() >= self.start
        return not self._has_joined

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.waits:
            self.passes += 1
            return x
        return through((self.convolution, self.activation), x)


def add_bias(y: Tensor, bias: Tensor) -> Tensor:
    """y [B, C, H, W] and a bias [C], in the format of y."""
    if y.device.type != "cuda":
        return y + bias.to(y.dtype)[:, None, None]
    biased: Tensor = _AddBias.apply(y, bias)  # type: ignore[no-untyped-call]
    return biased


class _AddBias(torch.autograd.Function):
    """Sums the bias's gradient as a product with ones: a GPU's matrix units do that sooner than its reduction."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, y: Tensor, bias: Tensor) -> Tensor:
        ctx.dtype = bias.dtype  # type: ignore[attr-defined]
        return y + bias.to(y.dtype)[:, None, None]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, Tensor]:
        pixels = gradient.permute(0, 2, 3, 1).reshape(-1, gradient.shape[1])
        return gradient, (pixels.new_ones(1, len(pixels)) @ pixels)[0].to(ctx.dtype)  # type: ignore[attr-defined]
