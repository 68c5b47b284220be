"""The seed's network in plain PyTorch, for the contestants that are written in it."""

import torch
from torch import Tensor, nn


class Encoder(nn.Module):
    """Images [B, 1, 28, 28] to the mean and the log-variance of q(z | x), both [B, 2]."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * 14 * 14, 32),
            nn.ReLU(),
        )
        self.mean = nn.Linear(32, 2)
        self.logvar = nn.Linear(32, 2)
        start_as_keras_does(self)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(x)
        return self.mean(features), self.logvar(features)


class Decoder(nn.Sequential):
    """Latents [B, 2] to logits [B, 1, 28, 28]."""

    def __init__(self) -> None:
        super().__init__(
            nn.Linear(2, 64 * 14 * 14),
            nn.ReLU(),
            nn.Unflatten(1, (64, 14, 14)),
            nn.ConvTranspose2d(64, 32, 3, stride=2, padding=1, output_padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 1, 3, padding=1),
        )
        start_as_keras_does(self)


def start_as_keras_does(module: nn.Module) -> None:
    """Glorot-uniform weights and zero biases."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def draw(mean: Tensor, logvar: Tensor) -> Tensor:
    """One latent for each image."""
    return mean + torch.exp(0.5 * logvar) * torch.randn_like(mean)
