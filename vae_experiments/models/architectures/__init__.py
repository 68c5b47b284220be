"""Encoders and decoders, as recipes that fit themselves to an image shape."""

from vae_experiments.models.architectures.base import Architecture
from vae_experiments.models.architectures.conv import Conv
from vae_experiments.models.architectures.mlp import MLP
from vae_experiments.models.architectures.resnet import ResNet

__all__ = ["MLP", "Architecture", "Conv", "ResNet"]
