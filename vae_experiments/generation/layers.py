"""What a network is made of: its layers in the order they run, with shapes, parameters and connections."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from vae_experiments.generation.inference import evaluating
from vae_experiments.models.flows.autoregressive import AutoregressiveNet, AutoregressiveStep
from vae_experiments.models.vae import VAE

Shape = tuple[int, ...]

# Elementwise layers, shown with the layer that they follow.
ACTIVATIONS = tuple(
    value
    for name in nn.modules.activation.__all__
    if isinstance(value := getattr(nn, name), type) and value is not nn.MultiheadAttention
)


@dataclass
class Layer:
    """One node of the network. Shapes are without the batch dimension."""

    name: str  # where it sits in the model, e.g. "encoder.0"
    kind: str  # e.g. "Conv2d"
    detail: str  # e.g. "3x3, stride 2x2"; empty where there is nothing to add
    output: Shape
    params: int
    inputs: list[int]  # positions in the list of layers
    activation: str = ""  # e.g. "ReLU", applied to the output


@dataclass(frozen=True)
class Network:
    """The layers of a VAE and its parameter counts."""

    image_shape: Shape
    latent_dim: int
    encoder: list[Layer]  # images to the parameters of q(z | x)
    heads: list[int]  # the layers of the encoder that nothing reads: the posterior's parameters
    decoder: list[Layer]  # latents to the parameters of p(x | z)
    posterior: str
    prior: str
    likelihood: str
    encoder_params: int
    decoder_params: int
    prior_params: int

    @property
    def params(self) -> int:
        return self.encoder_params + self.decoder_params + self.prior_params


@dataclass
class _Recorder:
    """Hooks that turn a forward pass into layers. An input of -1 stands for the network's own input."""

    layers: list[Layer] = field(default_factory=list)
    # Every tensor seen and the layer that made it; kept alive, since an id is reused once its owner is gone.
    made: dict[int, tuple[Tensor, int]] = field(default_factory=dict)
    counted: set[nn.Module] = field(default_factory=set)  # a layer that runs twice has its parameters once

    def hook(self, name: str, module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        tensors = [value for value in inputs if isinstance(value, Tensor)]
        if isinstance(output, AutoregressiveStep):
            output = output.context  # what the image decides of it
        if not isinstance(output, Tensor):
            return
        # An unknown tensor was made between layers, by code that hooks do not see: most likely from the last.
        last = len(self.layers) - 1
        sources = list(dict.fromkeys(self.made.get(id(t), (t, last))[1] for t in tensors)) or [last]
        shape = tuple(output.shape[1:])
        before = self.layers[sources[0]] if sources[0] >= 0 else None
        if isinstance(module, ACTIVATIONS) and before is not None and not before.activation:
            before.activation = type(module).__name__
            self.made[id(output)] = (output, sources[0])
            return
        params = 0 if module in self.counted else sum(p.numel() for p in module.parameters())
        self.counted.add(module)
        self.layers.append(Layer(name, type(module).__name__, _detail(module), shape, params, sources))
        self.made[id(output)] = (output, len(self.layers) - 1)


def read_network(vae: VAE) -> Network:
    """Runs one blank image through the model and writes down what happened."""
    with evaluating(vae) as device:
        x = torch.zeros(1, *vae.image_shape, device=device)
        z = torch.zeros(1, vae.latent_dim, device=device)
        encoder, decoder = _Recorder(), _Recorder()
        encoder.made[id(x)] = (x, -1)
        decoder.made[id(z)] = (z, -1)
        with _recording(encoder, {"encoder": vae.encoder, "posterior": vae.posterior}):
            vae.encode(x)
        with _recording(decoder, {"decoder": vae.decoder}):
            vae.decode(z)
    read = {source for layer in encoder.layers for source in layer.inputs}
    unread = [i for i in range(len(encoder.layers)) if i not in read]
    order = [name for part in ("encoder", "posterior") for name, _ in _units(part, getattr(vae, part))]
    return Network(
        image_shape=tuple(vae.image_shape),
        latent_dim=vae.latent_dim,
        encoder=encoder.layers,
        heads=sorted(unread, key=lambda i: order.index(encoder.layers[i].name)),
        decoder=decoder.layers,
        posterior=type(vae.posterior).__name__,
        prior=type(vae.prior).__name__,
        likelihood=type(vae.likelihood).__name__,
        encoder_params=_count(vae.encoder, vae.posterior),
        decoder_params=_count(vae.decoder, vae.likelihood),
        prior_params=_count(vae.prior),
    )


@contextmanager
def _recording(recorder: _Recorder, parts: dict[str, nn.Module]) -> Iterator[None]:
    units = [unit for name, part in parts.items() for unit in _units(name, part)]
    handles = [module.register_forward_hook(partial(recorder.hook, name)) for name, module in units]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _units(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules shown as one node: those without children, and those with parameters of their own.

    So is the one that masks its children's weights instead of calling them.
    """
    alone = not any(True for _ in module.children()) or any(True for _ in module.parameters(recurse=False))
    if alone or isinstance(module, AutoregressiveNet):
        yield name, module
        return
    for child_name, child in module.named_children():
        yield from _units(f"{name}.{child_name}", child)


def _detail(module: nn.Module) -> str:
    kernel = getattr(module, "kernel_size", None)
    if kernel is None:
        return ""
    stride = _sizes(getattr(module, "stride", 1))
    return _sizes(kernel) + ("" if stride in ("1", "1x1") else f", stride {stride}")


def _sizes(value: int | tuple[int, ...]) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _count(*modules: nn.Module) -> int:
    """Parameters of the modules together, a shared one counted once."""
    unique = {id(p): p.numel() for module in modules for p in module.parameters()}
    return sum(unique.values())
