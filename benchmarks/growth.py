"""A section of the bench: how the time of an epoch grows with images and with pixels.

python benchmarks/growth.py
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from command import VAE, run, scratch
from settings import Settings

from vae_experiments.sweeps.progress import read_progress

IMAGES = (1000, 2000, 4000)
SIZES = (16, 32, 64)  # pixels on a side
EPOCHS = 3
KEYS = (
    *("dataset=npz", "dataset/split=holdout", "dataset.split.size=64", "architecture.batch_size=50", "tracking=off"),
    *(f"trainer.max_epochs={EPOCHS}", "figures.epoch_manifold_size=0", "hooks.gallery=null", "hooks.diagnosis=null"),
    "+hooks.progress_file={_target_:vae_experiments.sweeps.progress.ProgressFile}",
)


@dataclass(frozen=True)
class Measured:
    """Seconds of the fastest epoch, by images of 28 x 28 and by the side of 1,000 images."""

    by_images: dict[int, float]
    by_side: dict[int, float]


def measure(settings: Settings) -> Measured:
    """Trains on noise of each size."""
    with scratch() as folder:
        return Measured(
            {n: epoch(folder, n, 28, settings) for n in IMAGES},
            {side: epoch(folder, IMAGES[0], side, settings) for side in SIZES},
        )


def epoch(folder: Path, images: int, side: int, settings: Settings) -> float:
    """Seconds of the fastest one."""
    noise = np.random.default_rng(0).integers(0, 256, (images + 64, side, side), np.uint8)
    np.savez(folder / "noise.npz", images=noise)
    where = folder / f"{images}-{side}"
    run((*VAE, "train", *KEYS, "dataset.path=noise.npz", f"hydra.run.dir={where}"), folder, settings.threads)
    progress = read_progress(where)
    assert progress is not None
    return min(row["time/epoch_seconds"] for row in progress.history)


def markdown(measured: Measured) -> str:
    """The section."""
    images = rows(measured.by_images, lambda n: n)
    pixels = rows(measured.by_side, lambda side: side**2)
    return (
        "## Growth\n\n"
        "The fastest of three epochs of the default network on noise. Linear would be 1.00 in the last column.\n\n"
        f"| images of 28 x 28 | seconds | per image, to the fewest |\n|---:|---:|---:|\n{images}\n\n"
        f"| pixels on a side, {IMAGES[0]:,} images | seconds | per pixel, to the smallest |\n|---:|---:|---:|\n{pixels}"
    )


def rows(seconds: dict[int, float], amount: Any) -> str:
    """A table's."""
    keys: Sequence[int] = list(seconds)
    first = seconds[keys[0]] / amount(keys[0])
    return "\n".join(f"| {k:,} | {seconds[k]:.2f} | {seconds[k] / amount(k) / first:.2f} |" for k in keys)


if __name__ == "__main__":
    print(markdown(measure(Settings())))
