"""A section of the bench: from the first step to the loss that the seed notebook ended with.

python benchmarks/speedrun.py
"""

import statistics
from dataclasses import dataclass

from command import VAE, run, scratch, watched, written
from settings import Settings

TARGET = 0.1833  # the seed's last held-out loss, in its unit
SEEDS = 10
LEAN = ("tracking=off", "hooks.gallery=null", "hooks.diagnosis=null")  # what follows the training is not timed


@dataclass(frozen=True)
class Measured:
    """Of each seed's run: seconds from before its first step to after its last validation, and the loss there."""

    seconds: list[float]
    losses: list[float]


def measure(settings: Settings) -> Measured:
    """Trains once with each seed."""
    result = Measured([], [])
    with scratch() as folder:
        for seed in range(SEEDS):
            where = folder / str(seed)
            report = folder / f"{seed}.json"
            keys = ("experiment=speedrun", f"seed={seed}", f"hydra.run.dir={where}", *LEAN)
            run((*VAE, "train", *keys, watched("LastEpoch", path=report)), folder, settings.threads)
            reached = written(report)
            result.seconds.append(reached["seconds"])
            result.losses.append(reached["value"])
    return result


def markdown(measured: Measured) -> str:
    """The section."""
    reached = sum(loss <= TARGET for loss in measured.losses)
    losses = ", ".join(f"{loss:.4f}" for loss in measured.losses)
    return (
        "## The speedrun\n\n"
        "`experiment=speedrun`: the seed's network, data split and loss, until the held-out loss is that which the "
        f"notebook ended with, {TARGET} in its unit; the notebook took 1,512 s on its machine. Seconds from before the "
        "first step on, checks included, and the training of the small network that teaches it.\n\n"
        f"- {reached} of {SEEDS} seeds reach it, in {statistics.median(measured.seconds):.1f} s "
        f"({min(measured.seconds):.1f} to {max(measured.seconds):.1f}).\n"
        f"- Their losses at the end: {losses}."
    )


if __name__ == "__main__":
    print(markdown(measure(Settings())))
