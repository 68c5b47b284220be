"""The default training step without one of the things that make it fast.

    cd benchmarks; python -m ablated WHAT BATCH_SIZE THREADS

Prints a JSON line: images per second.
"""

import json
import sys
import time

import torch
from decoding import default_config
from torch import nn

from vae_experiments.models import layers
from vae_experiments.models.build import build_vae
from vae_experiments.objectives import Progress
from vae_experiments.training.hardware import choose, keep_freed_memory
from vae_experiments.training.optimization import build_optimizer
from vae_experiments.training.step import gradient_norm

SHAPE = (1, 28, 28)
SECONDS = 2.0  # of measuring
WARM_UP = 8  # steps
KEYS = {
    "precision": "trainer.precision=float32",
    "layout": "trainer.channels_last=false",
    "layers": "trainer.rewritten_layers=false",
    "kernels": "trainer.kernels=false",
    "float32 kernels": "trainer.kernels=false trainer.precision=float32",
    "memory": "trainer.keep_memory=false",
    "fused": "optimizer.fused=false",
}


def flatten_as_pytorch(network: nn.Sequential) -> None:
    """Puts PyTorch's own layers, which flatten channels first, where ours are."""
    for i, layer in enumerate(network):
        if isinstance(layer, layers.Flatten):
            network[i] = nn.Flatten()
        elif isinstance(layer, layers.Unflatten):
            height, width, channels = layer.shape
            network[i] = nn.Unflatten(1, (channels, height, width))


def main() -> None:
    """Measures."""
    what, batch_size, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(threads)
    config = default_config(*KEYS.get(what, "").split())
    if config.trainer.keep_memory:
        keep_freed_memory()
    hardware = choose(config.trainer)
    layout = torch.channels_last if config.trainer.channels_last else torch.contiguous_format
    torch.manual_seed(0)
    vae = build_vae(config.architecture, config.posterior, config.prior, config.likelihood, SHAPE)
    layers.compute_by(vae, rewritten=config.trainer.rewritten_layers, kernels=config.trainer.kernels)
    if what == "order":
        for half in (vae.encoder, vae.decoder):
            assert isinstance(half, nn.Sequential)
            flatten_as_pytorch(half)
    vae.to(memory_format=layout)  # type: ignore[call-overload]
    optimizer = build_optimizer(config.optimizer, vae, config.trainer.kernels)
    parameters = list(vae.parameters())
    x = torch.rand(batch_size, *SHAPE).to(memory_format=layout)
    noise = config.objective.noise(vae, batch_size, torch.Generator().manual_seed(0))

    def step() -> None:
        with hardware.autocast():
            loss = config.objective(vae, x, noise, Progress(0, 100, 300, 100 * batch_size)).loss.mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        gradient_norm([p.grad for p in parameters if p.grad is not None], config.trainer.kernels).item()
        optimizer.step()

    for _ in range(WARM_UP):
        step()
    laps = []
    while sum(laps) < SECONDS:
        before = time.perf_counter()
        step()
        laps.append(time.perf_counter() - before)
    print(json.dumps({"images_per_second": batch_size * len(laps) / sum(laps)}))


if __name__ == "__main__":
    main()
