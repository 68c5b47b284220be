"""What an architecture is: a recipe that builds an encoder and a decoder to fit an image shape."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge
from torch import nn

from vae_experiments.errors import InputError
from vae_experiments.models.initialization import init_glorot, init_he
from vae_experiments.models.shapes import ImageShape

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


@dataclass(frozen=True, kw_only=True)
class Architecture(ABC):
    """The keys every architecture has; a subclass adds its own and builds the two networks.

    Args:
        latent_dim: number of latent dimensions.
        batch_size: images per training step, over all processes together.
        initialization: of the weights; biases are zero. glorot: Glorot & Bengio 2010, as Keras's layers begin. he: He
            et al. 2015, which keeps signals of one size behind every ReLU; it suits small dense networks.
    """

    latent_dim: Annotated[int, Ge(1)] = 2
    batch_size: Annotated[int, Ge(1)] = 32
    initialization: Literal["glorot", "he"] = "glorot"

    @property
    @abstractmethod
    def features(self) -> int:
        """Width F of the encoder's output."""

    @abstractmethod
    def encoder(self, image_shape: ImageShape) -> nn.Module:
        """A network from [B, C, H, W] to features [B, F]."""

    @abstractmethod
    def decoder(self, image_shape: ImageShape, params_per_channel: int) -> nn.Module:
        """A network from [B, latent_dim] to [B, C * params_per_channel, H, W], exactly the input's H and W."""

    def initialize(self, network: nn.Module) -> None:
        """The encoder's or the decoder's first weights, from torch's global generator."""
        if self.initialization == "he":
            init_he(network)
        else:
            init_glorot(network)


def activation(name: str) -> nn.Module:
    """The activation of that name; InputError names the known ones."""
    if name not in ACTIVATIONS:
        raise InputError(f"architecture.activation={name}: no such activation; one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()
