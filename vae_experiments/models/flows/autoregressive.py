"""Autoregressive maps: each dimension is moved by a function of those before it and of a context."""

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import elu, linear, logsigmoid

from vae_experiments.models.bounds import smooth_bound
from vae_experiments.models.initialization import init_glorot

# A gate's logit at first: nearly open, yet on the sigmoid's slope (Kingma et al. 2016 advise 1 to 2).
GATE = 2.0

# |gate's logit - GATE| stays below this: a gate at zero would forget its latent, and could not be inverted.
LIMIT = 8.0


@dataclass(frozen=True)
class AutoregressiveStep:
    """One such map for the contexts of B images: y = gate * z + (1 - gate) * shift, dimension by dimension.

    Gate and shift of a dimension come from two hidden layers of masked weights. Hidden units are sorted by
    how many dimensions they have seen; those that have seen d of them are `blocks[d]`.
    """

    context: Tensor  # [B, H], added to the first layer
    first: Tensor  # [H, dims]
    second: Tensor  # [H, H]
    second_bias: Tensor  # [H]
    last: Tensor  # [2 * dims, H]: each dimension's gate and shift
    last_bias: Tensor  # [2 * dims]
    blocks: tuple[slice, ...]  # one for each dimension

    def __call__(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """z [..., B, dims] to its image and the log of the Jacobian's determinant, [..., B]."""
        hidden = elu(z @ self.first.T + self.context)
        hidden = elu(linear(hidden, self.second, self.second_bias))
        raw, shift = linear(hidden, self.last, self.last_bias).unflatten(-1, (-1, 2)).unbind(-1)
        logit = GATE + smooth_bound(raw, LIMIT)
        gate = torch.sigmoid(logit)
        return gate * z + (1 - gate) * shift, logsigmoid(logit).sum(-1)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The z whose image is y, [..., B, dims], and the log-determinant at z, [..., B].

        Dimension by dimension; hidden units are worked out once, when all that they look at is known.
        """
        lead = torch.broadcast_shapes(y.shape[:-1], self.context.shape[:-1])
        # From here on [units, latents]: what is known of the units in turn lies side by side.
        y = y.expand(*lead, -1).flatten(0, -2).T
        # Sums into each unit, over what is known so far; those that have been read are cut off.
        first = self.context.expand(*lead, -1).flatten(0, -2).T.contiguous()
        second, last = self.second_bias[:, None], self.last_bias[:, None]
        found, log_det = [], y.new_zeros(y.shape[1])
        for d, block in enumerate(self.blocks):
            size = block.stop - block.start
            second = torch.addmm(second, self.second[block.start :, block], elu(first[:size]))
            last = torch.addmm(last, self.last[2 * d :, block], elu(second[:size]))
            logit = GATE + smooth_bound(last[0], LIMIT)
            gate = torch.sigmoid(logit)
            found.append((y[d] - (1 - gate) * last[1]) / gate)
            log_det = log_det + logsigmoid(logit)
            first = torch.addmm(first[size:], self.first[block.stop :, d : d + 1], found[-1][None])
            second, last = second[size:], last[2:]
        return torch.stack(found, -1).unflatten(0, lead), log_det.unflatten(0, lead)

    def detach(self) -> "AutoregressiveStep":
        """The same with weights and contexts held constant."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        held: dict[str, Any] = {name: value.detach() for name, value in values.items() if isinstance(value, Tensor)}
        return replace(self, **held)

    def __getitem__(self, images: slice) -> "AutoregressiveStep":
        return replace(self, context=self.context[images])


class AutoregressiveNet(nn.Module):
    """Two hidden layers whose masks keep an output from seeing its own dimension and later ones (Germain et al. 2015).

    The first hidden units see no dimension but the context alone, which is what moves the first dimension. The
    last layer begins at zero: no shift, and gates near 1.

    Args:
        dims: number of dimensions.
        features: width of what the context is a linear function of.
        hidden: width of the hidden layers, `dims` at least for every dimension to be looked at.
    """

    first_mask: Tensor
    second_mask: Tensor
    last_mask: Tensor

    def __init__(self, dims: int, features: int, hidden: int) -> None:
        super().__init__()
        seen = torch.arange(hidden) * dims // hidden  # how many dimensions a unit sees, 0 to dims - 1
        dim = torch.arange(dims)
        counts = torch.bincount(seen, minlength=dims)
        stops = counts.cumsum(0).tolist()
        self.blocks = tuple(slice(stop - count, stop) for stop, count in zip(stops, counts.tolist(), strict=True))
        self.register_buffer("first_mask", (dim < seen[:, None]).float(), persistent=False)
        self.register_buffer("second_mask", (seen <= seen[:, None]).float(), persistent=False)
        self.register_buffer("last_mask", (seen <= dim[:, None]).float().repeat_interleave(2, 0), persistent=False)
        self.context = nn.Linear(features, hidden)
        self.first = nn.Linear(dims, hidden, bias=False)
        self.second = nn.Linear(hidden, hidden)
        self.last = nn.Linear(hidden, 2 * dims)
        init_glorot(self)
        nn.init.zeros_(self.last.weight)

    def forward(self, features: Tensor) -> AutoregressiveStep:
        """The map for the images of features [B, F]; in the weights' own type whatever the autocast type."""
        return AutoregressiveStep(
            self.context(features).to(self.second.bias),
            self.first.weight * self.first_mask,
            self.second.weight * self.second_mask,
            self.second.bias,
            self.last.weight * self.last_mask,
            self.last.bias,
            self.blocks,
        )
