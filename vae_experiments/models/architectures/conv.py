"""A convolutional encoder and its mirrored decoder; by default the network of the seed."""

from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Ge
from torch import nn

from vae_experiments.errors import InputError
from vae_experiments.models.architectures.base import Architecture, activation
from vae_experiments.models.late_block import LateBlock
from vae_experiments.models.layers import Conv2d, ConvTranspose2d, Flatten, Linear, Unflatten
from vae_experiments.models.sequence import Layers
from vae_experiments.models.shapes import ImageShape

Positive = Annotated[int, Ge(1)]


@dataclass(frozen=True, kw_only=True)
class Conv(Architecture):
    """Convolutions, a dense layer; then a dense layer, a transposed convolution per stride, a convolution.

    The decoder undoes each strided convolution, last one first, with a transposed convolution to
    the number of filters that the strided layer read. With the defaults and one grey channel of
    28 x 28 it has 56,385 parameters of the model's 550,629.

    Args:
        filters: output channels of each convolution.
        strides: its stride, one for each of `filters`.
        kernel_size: odd; layers are padded so that only strides change the size.
        dense: width of the dense layer between the convolutions and the latent heads.
        activation: after every layer but the last.
        deepen_at: the training step at which convolutions join whose input and output have the same shape.
            Before, they are the identity and cost nothing; 0 trains all from the first step on.
    """

    filters: list[Positive] = field(default_factory=lambda: [32, 64, 64, 64])
    strides: list[Positive] = field(default_factory=lambda: [1, 2, 1, 1])
    kernel_size: Positive = 3
    dense: Positive = 32
    activation: str = "relu"
    deepen_at: Annotated[int, Ge(0)] = 0

    def __post_init__(self) -> None:
        if not self.filters:
            raise InputError("architecture.filters=[]: at least one convolution is needed")
        if len(self.filters) != len(self.strides):
            raise InputError(
                f"architecture.strides has {len(self.strides)} entries and architecture.filters "
                f"{len(self.filters)}: give one stride for each convolution"
            )
        if self.kernel_size % 2 == 0:
            raise InputError(f"architecture.kernel_size={self.kernel_size}: must be odd")
        if any(stride > self.kernel_size for stride in self.strides):
            raise InputError(
                f"architecture.strides={self.strides}: a stride larger than the kernel ({self.kernel_size}) skips "
                "pixels"
            )
        activation(self.activation)
        if self.deepen_at > 0 and self.activation != "relu":
            raise InputError(
                f"architecture.deepen_at={self.deepen_at}: only behind a ReLU is the identity left as it is; "
                "set architecture.activation=relu, or architecture.deepen_at=0"
            )

    @property
    def features(self) -> int:
        return self.dense

    def _sizes(self, image_shape: ImageShape) -> list[tuple[int, int]]:
        """(H, W) of the image and after each convolution."""
        sizes = [image_shape[1:]]
        for stride in self.strides:
            height, width = sizes[-1]
            sizes.append(((height - 1) // stride + 1, (width - 1) // stride + 1))
        return sizes

    def encoder(self, image_shape: ImageShape) -> nn.Module:
        layers: list[nn.Module] = []
        channels = image_shape[0]
        for filters, stride in zip(self.filters, self.strides, strict=True):
            late = self.deepen_at > 0 and stride == 1 and channels == filters and len(layers) > 0
            convolution = Conv2d(channels, filters, self.kernel_size, stride, padding=self.kernel_size // 2)
            layers += [LateBlock(convolution, self.deepen_at)] if late else [convolution, activation(self.activation)]
            channels = filters
        height, width = self._sizes(image_shape)[-1]
        layers += [
            Flatten(),
            Linear(channels * height * width, self.dense),
            activation(self.activation),
        ]
        return Layers(*layers)

    def initialize(self, network: nn.Module) -> None:
        super().initialize(network)
        for layer in network.modules():
            if isinstance(layer, LateBlock):
                layer.become_identity()

    def decoder(self, image_shape: ImageShape, params_per_channel: int) -> nn.Module:
        sizes = self._sizes(image_shape)
        height, width = sizes[-1]
        channels = self.filters[-1]
        layers: list[nn.Module] = [
            Linear(self.latent_dim, channels * height * width),
            activation(self.activation),
            Unflatten(channels, height, width),
        ]
        padding = self.kernel_size // 2
        for i in reversed(range(len(self.filters))):
            stride = self.strides[i]
            if stride == 1:
                continue
            filters = self.filters[max(i - 1, 0)]
            # What the strided convolution's rounding lost, so that odd sizes come back exactly.
            height, width = sizes[i]
            missing = ((height - 1) % stride, (width - 1) % stride)
            layers += [
                ConvTranspose2d(channels, filters, self.kernel_size, stride, padding, output_padding=missing),
                activation(self.activation),
            ]
            channels = filters
        layers.append(Conv2d(channels, image_shape[0] * params_per_channel, self.kernel_size, padding=padding))
        return Layers(*layers)
