"""Layers one after another, computed by the compiled kernels, as one operation for autograd.

A kernel takes some tens of microseconds for a small batch, and the bookkeeping of an operation as many: those of a
whole network are cheaper together.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor


class Kernel(Protocol):
    """What a layer computes, but for its weight and its bias; of tensors on the CPU."""

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor, relu: bool) -> Tensor:
        """The layer's output in the number format of x, behind a ReLU if asked for."""
        ...

    def backward(
        self, gradient: Tensor, mask: Tensor | None, weight: Tensor, x: Tensor, of_x: bool, of_weight: bool
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Of x, weight and bias, those that are wanted, from the output's; where a mask is not positive, it is none."""
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
    x = x.to(precision)
    parameters = [tensor for link in links for tensor in (link.weight, link.bias.contiguous())]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (x, *parameters)):
        kernels = [(link.kernel, link.relu) for link in links]
        y: Tensor = _Chain.apply(x, kernels, *parameters)  # type: ignore[no-untyped-call]
        return y
    for link in links:
        x = link.kernel.forward(x, link.weight, link.bias.contiguous(), link.relu)
    return x


class _Chain(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, kernels: list[tuple[Kernel, bool]], *parameters: Tensor) -> Tensor:
        seen: list[Tensor | None] = []  # what each layer is given, and what the last one's ReLU leaves
        for i, (kernel, relu) in enumerate(kernels):
            seen.append(x)
            x = kernel.forward(x, parameters[2 * i], parameters[2 * i + 1], relu)
        seen.append(x if kernels[-1][1] else None)
        ctx.save_for_backward(*seen, *parameters[::2])
        ctx.kernels = kernels
        return x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        kernels, saved = ctx.kernels, ctx.saved_tensors
        seen, weights = saved[: len(kernels) + 1], saved[len(kernels) + 1 :]
        of_x, _, *of_parameters = ctx.needs_input_grad
        dx: Tensor | None = gradient
        results: list[Tensor | None] = [None] * len(of_parameters)
        for i, (kernel, relu) in reversed(list(enumerate(kernels))):
            if dx is None:  # nothing before here is wanted
                break
            mask, wanted = seen[i + 1] if relu else None, (of_x or any(of_parameters[: 2 * i]))
            own = slice(2 * i, 2 * i + 2)
            dx, *results[own] = kernel.backward(dx, mask, weights[i], seen[i], wanted, any(of_parameters[own]))
        return dx, None, *results
