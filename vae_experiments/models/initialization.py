"""How weights begin."""

import math

from torch import nn


def init_glorot(module: nn.Module) -> None:
    """Glorot-uniform weights and zero biases, as Keras initialises its layers (Glorot & Bengio 2010)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def init_he(network: nn.Module) -> None:
    """Normal weights of variance 2 / inputs of a unit, and zero biases (He et al. 2015).

    A last layer with no activation behind it begins with an eighth of that variance: the network's first outputs are
    then near zero, and no step is spent on undoing what chance put there.
    """
    leaves = [module for module in network.modules() if not list(module.children())]
    layers = [leaf for leaf in leaves if isinstance(leaf, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)]
    for layer in layers:
        inputs: float = layer.weight[0].numel()
        if isinstance(layer, nn.ConvTranspose2d):  # each output is reached by every stride-th weight of a kernel
            inputs = layer.weight[:, 0].numel() / math.prod(layer.stride)
        is_output = layer is layers[-1] and not any(map(is_activation, leaves[leaves.index(layer) :]))
        nn.init.normal_(layer.weight, std=math.sqrt((0.25 if is_output else 2) / inputs))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def is_activation(layer: nn.Module) -> bool:
    """Whether it is one of PyTorch's."""
    return type(layer).__module__ == "torch.nn.modules.activation"
