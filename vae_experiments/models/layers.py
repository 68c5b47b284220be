"""Layers that compute what PyTorch's compute, in the order in which a CPU, or a GPU, does it fast.

A channels_last batch [B, C, H, W] lies in memory as [B, H, W, C]. Layers before and behind convolutions keep it so,
forwards and backwards: a copy into another order costs more than many a convolution.
"""

from functools import reduce
from typing import get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from vae_experiments.kernels.compiled import has_tiles
from vae_experiments.kernels.dense import FORMATS
from vae_experiments.models.layer_kernels import by_kernels
from vae_experiments.models.thin_convolution import ThinConvolution

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
        if output_size is None and self.compiled and (y := by_kernels(self, x)) is not None:
            return y
        if not self.rewritten or not torch.is_grad_enabled() or output_size is not None or not _is_usual(self, x):
            return super().forward(x, output_size)
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
        if self.compiled and (computed := by_kernels(self, x)) is not None:
            return computed
        is_rewritten = self.rewritten and torch.is_grad_enabled() and x.device.type in ("cpu", "cuda")
        if not is_rewritten or not _is_usual(self, x):
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
            and self.kernel_size == (kernel, kernel)
            and self.padding == (kernel // 2, kernel // 2)
            and self.stride == (1, 1)
        )


class Linear(nn.Linear):
    """By kernels compiled for the CPU, where they are."""

    compiled = True

    def forward(self, x: Tensor) -> Tensor:
        y = by_kernels(self, x) if self.compiled else None
        return super().forward(x) if y is None else y


Compiled = Conv2d | ConvTranspose2d | Linear  # layers that may be computed by the kernels of vae_experiments.kernels
KINDS = get_args(Compiled)


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


def compute_by(network: nn.Module, *, rewritten: bool, kernels: bool) -> None:
    """Has the layers of `network` compute in the way that is fast, by kernels or without, or in PyTorch's own."""
    if not rewritten:
        compute_as_pytorch(network)
    elif not kernels:
        compute_without_kernels(network)


def has_compiled_layers(network: nn.Module, precision: torch.dtype) -> bool:
    """Whether `network` has layers that the kernels for that number format may compute."""
    layers = [layer for layer in network.modules() if isinstance(layer, Compiled) and layer.compiled]
    return any(not isinstance(layer, Linear) or precision in FORMATS for layer in layers)


def _is_usual(layer: nn.Conv2d | nn.ConvTranspose2d, x: Tensor) -> bool:
    """Whether it is of the kind that is computed another way here than by PyTorch."""
    usual = layer.bias is not None and layer.groups == 1 and layer.dilation == (1, 1) and layer.padding_mode == "zeros"
    return usual and not isinstance(layer.padding, str) and x.dim() == 4


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
