"""The small classifier in whose features generated images are set beside real ones.

Sample metrics compare images by what a classifier sees in them. The usual one, trained on ImageNet (Heusel
et al. 2017), sees little in small grey digits; there a small network trained on the dataset itself takes its
place (Binkowski et al. 2018). Figures in the features of two extractors do not compare, so a figure goes
with the digest of its own.
"""

import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vae_experiments.errors import InputError
from vae_experiments.files import write_atomically
from vae_experiments.training.checkpoints import digest

LAYOUT = 1  # of network and file; raise it whenever the same weights would give other features
CHANNELS = (32, 64, 64)
GRID = 4  # height and width of the last convolution's output, whatever the images' are
FEATURES = 128
BLOCK_PIXELS = 2**20  # of images seen at once, about 300 MB of activations

Floats = NDArray[np.float32]


class Network(nn.Module):
    """Three convolutions, each followed by a halving, then the features, then a logit for each class.

    Nothing in it behaves otherwise in training than in use: no batch norm, no dropout.

    Args:
        channels: of the images.
        classes: to tell apart.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((channels, *CHANNELS[:-1]), CHANNELS, strict=True):
            # Halved upwards: of images of any size, even of one pixel, something is left.
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)]
        layers += [nn.AdaptiveAvgPool2d(GRID), nn.Flatten(), nn.Linear(CHANNELS[-1] * GRID**2, FEATURES), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(FEATURES, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(x))
        return logits


def blank_network(channels: int, classes: int) -> Network:
    """A network with memory for its weights and nothing in it; making it draws no random number."""
    with torch.device("meta"):
        network = Network(channels, classes)
    return network.to_empty(device="cpu").to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


@dataclass(frozen=True)
class Extractor:
    """A trained network, and how it came about.

    Args:
        network: on the CPU, in float32.
        image_shape: (C, H, W) of the images it takes.
        accuracy: share of the labelled validation images that it classifies rightly; None if there are none.
        epochs: it was trained for.
        seed: of its training.
    """

    network: Network
    image_shape: tuple[int, int, int]
    accuracy: float | None
    epochs: int
    seed: int

    @cached_property
    def digest(self) -> str:
        """SHA-256 of weights and layout, as 64 hex digits."""
        return digest({"layout": LAYOUT, "weights": self.network.state_dict()})

    def features(self, images: NDArray[np.floating[Any]]) -> Floats:
        """Features [N, FEATURES] of images [N, C, H, W] in [0, 1].

        Raises:
            ValueError: the images have another shape than those it was trained on.
        """
        if images.shape[1:] != self.image_shape:
            raise ValueError(f"images of shape {images.shape[1:]}; the extractor takes {self.image_shape}")
        _, height, width = self.image_shape
        block = max(1, BLOCK_PIXELS // (height * width))
        found = np.empty((len(images), FEATURES), np.float32)
        with torch.inference_mode():
            for start in range(0, len(images), block):
                x = as_input(images[start : start + block])
                found[start : start + block] = self.network.features(x).numpy()
        return found

    def save(self, path: Path) -> None:
        """Writes it whole or not at all, in a folder made for it if need be.

        Raises:
            OSError: it cannot be written there.
        """
        content = {
            "image_shape": list(self.image_shape),
            "classes": self.network.classifier.out_features,
            "accuracy": self.accuracy,
            "epochs": self.epochs,
            "seed": self.seed,
            "weights": self.network.state_dict(),
        }
        buffer = io.BytesIO()
        torch.save({"layout": LAYOUT, "digest": digest(content), "content": content}, buffer)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, [buffer.getbuffer()])

    @classmethod
    def load(cls, path: Path) -> "Extractor":
        """Reads one back; no code in the file is run.

        Raises:
            InputError: there is none, not a whole one, or one of another layout.
        """
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
        except FileNotFoundError as error:
            raise InputError(f"{path}: no such extractor") from error
        except Exception as error:  # of many kinds, see checkpoints.load_checkpoint
            raise InputError(f"{path}: is not a whole extractor ({type(error).__name__})") from error
        if not isinstance(saved, dict) or saved.keys() != {"layout", "digest", "content"}:
            raise InputError(f"{path}: is not an extractor of this program")
        if saved["layout"] != LAYOUT:
            raise InputError(f"{path}: has layout {saved['layout']}, this version reads {LAYOUT}")
        content = saved["content"]
        if digest(content) != saved["digest"]:
            raise InputError(f"{path}: its content does not match its digest; the file was altered or damaged")
        channels, height, width = content["image_shape"]
        network = blank_network(channels, content["classes"])
        network.load_state_dict(content["weights"])
        shape = (channels, height, width)
        return cls(network, shape, content["accuracy"], content["epochs"], content["seed"])


def as_input(images: NDArray[np.floating[Any]]) -> Tensor:
    """Float32 images in the layout that CPU convolutions are fastest in."""
    return torch.from_numpy(images).to(torch.float32, memory_format=torch.channels_last)
