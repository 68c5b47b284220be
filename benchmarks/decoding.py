"""A section of the bench: how fast a model is evaluated, beside how fast it trains.

python benchmarks/decoding.py
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import hydra
import numpy as np
import torch
from settings import Settings

from vae_experiments.config.hydra_app import to_plain
from vae_experiments.config.paths import conf_dir
from vae_experiments.config.resolvers import register_resolvers
from vae_experiments.evaluation.examined import Examined
from vae_experiments.evaluation.importance import log_likelihood
from vae_experiments.generation.manifold import manifold
from vae_experiments.models.build import build_vae
from vae_experiments.objectives import Progress
from vae_experiments.runs.config import RunConfig
from vae_experiments.sweeps.compose import ABOUT_THE_SWEEP
from vae_experiments.training.hardware import choose, keep_freed_memory

REPEATS = 5  # in each round
BATCH, IMAGES, DRAWS = 128, 100, 50
SHAPE = (1, 28, 28)


@dataclass(frozen=True)
class Measured:
    """Per second, the last in seconds.

    Args:
        forward: images through encoder, decoder and loss, as in training.
        decodes: latents decoded and weighted.
        manifold: a 40 x 40 one.
    """

    forward: float
    decodes: float
    manifold: float


def default_config(*overrides: str) -> RunConfig:
    """What `vae train` trains on a CPU."""
    register_resolvers()
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        plain = to_plain(hydra.compose("train", ["trainer.device=cpu", *overrides]))
    return RunConfig.of({key: value for key, value in plain.items() if key not in ABOUT_THE_SWEEP})


def measure(settings: Settings) -> Measured:
    """The best of several each."""
    torch.set_num_threads(settings.threads)
    keep_freed_memory()
    config = default_config()
    hardware = choose(config.trainer)
    torch.manual_seed(0)
    vae = build_vae(config.architecture, config.posterior, config.prior, config.likelihood, SHAPE)
    vae.to(hardware.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = np.random.default_rng(0).integers(0, 256, (BATCH, *SHAPE), dtype=np.uint8)
    x = torch.from_numpy(images).to(hardware.device).float() / 255
    generator = torch.Generator(hardware.device).manual_seed(0)
    noise = config.objective.noise(vae, BATCH, generator)

    def forward() -> None:
        with hardware.autocast():
            config.objective(vae, x, noise, Progress(0, 100, 300, 100 * BATCH)).loss.sum().item()

    examined = Examined(vae, images[:IMAGES], np.zeros(IMAGES, np.int64), seed=0)
    times = REPEATS * settings.rounds
    return Measured(
        BATCH / least(forward, times),
        IMAGES * DRAWS / least(lambda: log_likelihood(examined, DRAWS), times),
        least(lambda: manifold(vae), times),
    )


def least(work: Callable[[], object], times: int) -> float:
    """Seconds, the fewest of several times after a first."""
    work()
    seconds = []
    for _ in range(times):
        before = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - before)
    return min(seconds)


def markdown(measured: Measured) -> str:
    """The section."""
    share = measured.decodes / measured.forward
    return (
        "## Evaluation\n\n"
        f"- Importance weighting: {measured.decodes:,.0f} latents a second decoded and weighted, in float32: "
        f"{share:.0%} of the {measured.forward:,.0f} images a second of training's forward pass (encoder, decoder and "
        "loss, in the format that training takes, with what their gradients need).\n"
        f"- A manifold of 40 x 40 images: {measured.manifold:.2f} s."
    )


if __name__ == "__main__":
    print(markdown(measure(Settings())))
