"""Layers one after another, computed by the compiled kernels, as one operation for autograd.

A kernel takes some tens of microseconds for a small batch and leaves little else in the cache: whatever Python does
between two of them takes several times as long as it usually does. So all calls are prepared first, then made.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from vae_experiments.kernels.calls import Call, address, make


class Kernel(Protocol):
    """What computes a layer of a batch of one shape and number format; it is given addresses, None of what is not."""

    shape: tuple[int, ...]  # of the layer's output
    order: torch.memory_format  # how the batches that it reads and writes lie in memory

    def forward(self, x: int, weight: int, bias: int, relu: bool, y: int) -> Call:
        """Writes the layer's output, behind a ReLU if asked for, to y."""
        ...

    def backward(
        self, gradient: int, mask: int | None, weight: int, x: int, dx: int | None, dw: int | None, db: int | None
    ) -> list[Call]:
        """Writes those gradients that there is room for, from the output's; that is none where a mask is not positive.

        Of weight and bias there are both, or neither.
        """
        ...


class Link(NamedTuple):
    """A layer of a chain; weight and bias are float32, and a ReLU may follow."""

    kernel: Kernel
    weight: Tensor
    bias: Tensor
    relu: bool = False


def chained(x: Tensor, precision: torch.dtype, links: Sequence[Link]) -> Tensor:
    """What comes out of these layers, one after another, of x in that number format; differentiable once.

    What the layers see is kept until all their gradients are known.
    """
    kernels = [(link.kernel, link.relu) for link in links]
    x = x.to(precision).contiguous(memory_format=kernels[0][0].order)
    parameters = [tensor for link in links for tensor in (link.weight, link.bias.contiguous())]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (x, *parameters)):
        y: Tensor = _Chain.apply(x, kernels, *parameters)  # type: ignore[no-untyped-call]
        return y
    return _compute(x, kernels, parameters, _in_turn(x, kernels))


def _compute(
    x: Tensor, kernels: list[tuple[Kernel, bool]], parameters: Sequence[Tensor], inner: list[Tensor]
) -> Tensor:
    """The last layer's output; `inner` is where those of the others go."""
    last = kernels[-1][0]
    y = torch.empty(last.shape, dtype=x.dtype, device=x.device, memory_format=last.order)
    at = [tensor.data_ptr() for tensor in (x, *inner, y)]
    ours = [tensor.data_ptr() for tensor in parameters]
    make(
        [
            kernel.forward(at[i], ours[2 * i], ours[2 * i + 1], relu, at[i + 1])
            for i, (kernel, relu) in enumerate(kernels)
        ]
    )
    return y


def _sizes(kernels: list[tuple[Kernel, bool]]) -> list[int]:
    """How many values there are between one layer and the next."""
    return [math.prod(kernel.shape) for kernel, _ in kernels[:-1]]


def _in_turn(x: Tensor, kernels: list[tuple[Kernel, bool]]) -> list[Tensor]:
    """Room for what is between layers, if nobody wants it any more once the layer after the next is at work."""
    sizes = _sizes(kernels)
    pair = [x.new_empty(max(sizes[i::2], default=0)) for i in range(2)]
    return [pair[i % 2] for i in range(len(sizes))]


class _Chain(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, kernels: list[tuple[Kernel, bool]], *parameters: Tensor) -> Tensor:
        inner = [x.new_empty(size) for size in _sizes(kernels)]
        y = _compute(x, kernels, parameters, inner)
        ctx.save_for_backward(x, *inner, y if kernels[-1][1] else None, *parameters[::2])
        ctx.kernels, ctx.strides = kernels, [weight.stride() for weight in parameters[::2]]
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        kernels, saved = ctx.kernels, ctx.saved_tensors
        # What each layer is given, then what the last one gives; and the weights.
        seen, weights = saved[: len(kernels) + 1], saved[len(kernels) + 1 :]
        if [weight.stride() for weight in weights] != ctx.strides:
            raise RuntimeError("a layer's weights lie in another order in memory now than in the forward pass")
        of_x, _, *of_parameters = ctx.needs_input_grad
        first = torch.empty_like(seen[0]) if of_x else None
        last = gradient.contiguous(memory_format=kernels[-1][0].order)
        gradients = [first, *_in_turn(last, kernels), last]  # of `seen`
        results: list[Tensor | None] = [None] * len(of_parameters)
        calls: list[Call] = []
        for i, (kernel, relu) in reversed(list(enumerate(kernels))):
            own, goes_on = slice(2 * i, 2 * i + 2), of_x or any(of_parameters[: 2 * i])
            if any(of_parameters[own]):
                results[own] = torch.empty_like(weights[i]), weights[i].new_empty(kernel.shape[1])
            mask, dx = (seen[i + 1] if relu else None), (gradients[i] if goes_on else None)
            tensors = gradients[i + 1], mask, weights[i], seen[i], dx, *results[own]
            calls += kernel.backward(*map(address, tensors))
            if not goes_on:
                break
        make(calls)
        return first, None, *results
