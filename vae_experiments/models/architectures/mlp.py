"""A multilayer perceptron as encoder, and its mirror as decoder."""

from dataclasses import dataclass, field
from itertools import pairwise
from math import prod
from typing import Annotated

from annotated_types import Ge
from torch import nn

from vae_experiments.errors import InputError
from vae_experiments.models.architectures.base import Architecture, activation
from vae_experiments.models.layers import Linear, RepeatedOverSquares, SquareMeans
from vae_experiments.models.sequence import Layers
from vae_experiments.models.shapes import ImageShape


@dataclass(frozen=True, kw_only=True)
class MLP(Architecture):
    """Dense layers down to the latent heads, and the same widths in reverse back to the pixels.

    Args:
        hidden: widths of the encoder's layers; the decoder uses them in reverse.
        square: pixels along the side of the squares that are seen, and drawn, as one: their mean goes in, and what
            comes out is repeated over them. 1 is every pixel by itself.
        activation: after every layer but the last.
    """

    hidden: list[Annotated[int, Ge(1)]] = field(default_factory=lambda: [512, 256])
    square: Annotated[int, Ge(1)] = 1
    activation: str = "relu"

    def __post_init__(self) -> None:
        if not self.hidden:
            raise InputError("architecture.hidden=[]: at least one layer is needed")
        activation(self.activation)

    @property
    def features(self) -> int:
        return self.hidden[-1]

    def _dense(self, widths: list[int]) -> list[nn.Module]:
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [Linear(inputs, outputs), activation(self.activation)]
        return layers

    def encoder(self, image_shape: ImageShape) -> nn.Module:
        shape = self._seen(image_shape)
        first = [SquareMeans(self.square)] if self.square > 1 else []
        return Layers(*first, nn.Flatten(), *self._dense([prod(shape), *self.hidden]))

    def decoder(self, image_shape: ImageShape, params_per_channel: int) -> nn.Module:
        channels, height, width = self._seen(image_shape)
        outputs = (channels * params_per_channel, height, width)
        return Layers(
            *self._dense([self.latent_dim, *reversed(self.hidden)]),
            Linear(self.hidden[0], prod(outputs)),
            nn.Unflatten(1, outputs),
            *([RepeatedOverSquares(self.square)] if self.square > 1 else []),
        )

    def _seen(self, image_shape: ImageShape) -> ImageShape:
        channels, height, width = image_shape
        if height % self.square or width % self.square:
            raise InputError(
                f"architecture.square={self.square}: images of {height}x{width} pixels are no whole number of such "
                "squares; choose a divisor of both, or 1"
            )
        return channels, height // self.square, width // self.square
