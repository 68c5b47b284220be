"""A residual encoder and its mirrored decoder."""

from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Ge
from torch import Tensor, nn
from torch.nn import functional

from vae_experiments.errors import InputError
from vae_experiments.models.architectures.base import Architecture, activation
from vae_experiments.models.layers import Conv2d, Flatten, Linear, Unflatten
from vae_experiments.models.sequence import Layers
from vae_experiments.models.shapes import ImageShape

Positive = Annotated[int, Ge(1)]


class Sum(nn.Module):
    """Two branches, added; a layer of its own, so that pictures of the network show where they meet."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class ResidualBlock(nn.Module):
    """x + conv(act(conv(act(x)))): pre-activation (He et al. 2016), without normalisation.

    Args:
        channels: of its input and its output, [B, channels, H, W].
        name: of the activation.
    """

    def __init__(self, channels: int, name: str) -> None:
        super().__init__()
        self.branch = Layers(
            activation(name),
            Conv2d(channels, channels, 3, padding=1),
            activation(name),
            Conv2d(channels, channels, 3, padding=1),
        )
        self.sum = Sum()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.sum(x, self.branch(x))
        return y


class Enlarge(nn.Module):
    """Doubles H and W by repeating every value, and cuts off what rounding up added when they were halved."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        height, width = self.size
        return functional.interpolate(x, scale_factor=2, mode="nearest")[..., :height, :width]


@dataclass(frozen=True, kw_only=True)
class ResNet(Architecture):
    """Stages of residual blocks; the encoder halves height and width into each, the decoder doubles them after it.

    The decoder enlarges by repetition and a convolution: unlike a transposed convolution it treats
    all pixels alike, so leaves no checkerboard (Odena et al. 2016).

    Args:
        channels: of each stage.
        blocks: residual blocks of each stage.
        dense: width of the dense layer between the last stage and the latents, on either side.
        activation: in every block and after the dense layers.
    """

    channels: list[Positive] = field(default_factory=lambda: [32, 64, 128])
    blocks: Positive = 1
    dense: Positive = 256
    activation: str = "silu"

    def __post_init__(self) -> None:
        if not self.channels:
            raise InputError("architecture.channels=[]: at least one stage is needed")
        activation(self.activation)

    @property
    def features(self) -> int:
        return self.dense

    def _sizes(self, image_shape: ImageShape) -> list[tuple[int, int]]:
        """(H, W) of the image and in each stage."""
        sizes = [image_shape[1:]]
        for _ in self.channels:
            height, width = sizes[-1]
            sizes.append(((height + 1) // 2, (width + 1) // 2))
        return sizes

    def _stage(self, channels: int) -> list[nn.Module]:
        return [ResidualBlock(channels, self.activation) for _ in range(self.blocks)]

    def encoder(self, image_shape: ImageShape) -> nn.Module:
        layers: list[nn.Module] = []
        for before, channels in zip([image_shape[0], *self.channels], self.channels, strict=False):
            layers += [Conv2d(before, channels, 3, stride=2, padding=1), *self._stage(channels)]
        height, width = self._sizes(image_shape)[-1]
        return Layers(
            *layers,
            activation(self.activation),
            Flatten(),
            Linear(self.channels[-1] * height * width, self.dense),
            activation(self.activation),
        )

    def decoder(self, image_shape: ImageShape, params_per_channel: int) -> nn.Module:
        *sizes, (height, width) = self._sizes(image_shape)
        layers: list[nn.Module] = [
            Linear(self.latent_dim, self.dense),
            activation(self.activation),
            Linear(self.dense, self.channels[-1] * height * width),
            Unflatten(self.channels[-1], height, width),
        ]
        after = [image_shape[0] * params_per_channel, *self.channels[:-1]]
        for size, channels, filters in reversed(list(zip(sizes, self.channels, after, strict=True))):
            layers += [*self._stage(channels), Enlarge(size), Conv2d(channels, filters, 3, padding=1)]
        return Layers(*layers)

    def initialize(self, network: nn.Module) -> None:
        """As the base class's, but every residual block begins as the identity: its last convolution at zero."""
        super().initialize(network)
        for block in network.modules():
            if isinstance(block, ResidualBlock):
                last = block.branch[-1]
                assert isinstance(last, nn.Conv2d)
                nn.init.zeros_(last.weight)
