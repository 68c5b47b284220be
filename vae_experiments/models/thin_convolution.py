"""A convolution to few channels as one product and shifted sums, for `models.layers.Conv2d`, which says why."""

import torch
from torch import Tensor
from torch.nn import functional


class ThinConvolution(torch.autograd.Function):
    """Of images [B, C, H, W] with weights [O, C, k, k], k odd, to [B, O, H, W] in float32; the bias is not in it."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, weight: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        outputs, _, kernel, _ = weight.shape
        pixels = x.permute(0, 2, 3, 1).reshape(-1, channels)
        taps = weight.permute(2, 3, 0, 1).reshape(-1, channels)  # [k * k * O, C]
        images = (taps @ pixels.T).view(kernel, kernel, outputs, batch, height, width)
        reach = kernel // 2
        y = images[reach, reach].float()
        for i, j in _off_center(kernel):
            target, source = _overlap(i - reach, height), _overlap(j - reach, width)
            y[..., target[0], source[0]] += images[i, j][..., target[1], source[1]]
        ctx.save_for_backward(pixels, taps)
        return y.transpose(0, 1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, Tensor]:
        pixels, taps = ctx.saved_tensors  # type: ignore[attr-defined]
        batch, outputs, height, width = gradient.shape
        channels = taps.shape[1]
        kernel = round((len(taps) / outputs) ** 0.5)
        reach = kernel // 2
        padded = functional.pad(gradient.transpose(0, 1).to(pixels.dtype), (reach,) * 4)
        shifted = torch.stack(
            [
                padded[..., 2 * reach - i : 2 * reach - i + height, 2 * reach - j : 2 * reach - j + width]
                for i in range(kernel)
                for j in range(kernel)
            ]
        ).view(len(taps), -1)  # [k * k * O, B * H * W]
        d_weight = (shifted @ pixels).view(kernel, kernel, outputs, channels).permute(2, 3, 0, 1)
        d_x = (shifted.T @ taps).view(batch, height, width, channels).permute(0, 3, 1, 2)
        return d_x, d_weight


def _off_center(kernel: int) -> list[tuple[int, int]]:
    """The taps of a kernel but the one in the middle."""
    return [(i, j) for i in range(kernel) for j in range(kernel) if (i, j) != (kernel // 2, kernel // 2)]


def _overlap(shift: int, size: int) -> tuple[slice, slice]:
    """Where y[r] += x[r + shift] has both sides within `size`: the slice of y and that of x."""
    length = max(0, size - abs(shift))
    target, source = max(0, -shift), max(0, shift)
    return slice(target, target + length), slice(source, source + length)
