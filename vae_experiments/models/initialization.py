"""How weights begin."""

from torch import nn


def init_glorot(module: nn.Module) -> None:
    """Glorot-uniform weights and zero biases, as Keras initialises its layers (Glorot & Bengio 2010)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
