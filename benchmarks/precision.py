"""A section of the bench: whether bfloat16 ends where float32 does.

python benchmarks/precision.py
"""

import statistics
import tempfile
from pathlib import Path
from typing import Any

from child import measured
from settings import Settings
from training import export

SEEDS = 5
EPOCHS = 4
FORMATS = ("float32", "bfloat16")

Losses = dict[str, list[float]]


def measure(settings: Settings) -> Losses:
    """The held-out loss of each seed in each format."""
    losses: Losses = {name: [] for name in FORMATS}
    with tempfile.TemporaryDirectory(prefix="vae-bench-") as folder:
        export(settings.images, Path(folder))
        for seed in range(SEEDS):
            for name in FORMATS:
                options = (f"--seed={seed}", f"--epochs={EPOCHS}", f"--precision={name}", "--batch-size=32")
                answer: dict[str, Any] = measured(
                    "peers.ours", folder, *options, f"--threads={settings.threads}", threads=settings.threads
                )
                losses[name].append(answer["held_out"])
    return losses


def markdown(losses: Losses) -> str:
    """The section."""
    means = {name: statistics.mean(each) for name, each in losses.items()}
    away = means["bfloat16"] - means["float32"]
    spread = statistics.stdev(losses["float32"])
    verdict = "within" if abs(away) <= spread else "**OUTSIDE**"
    table = "\n".join(
        f"| {name} | {', '.join(f'{loss:.1f}' for loss in each)} | {means[name]:.1f} +- {statistics.stdev(each):.1f} |"
        for name, each in losses.items()
    )
    return (
        "## bfloat16 beside float32\n\n"
        f"Minus the evidence lower bound on the held-out digits, nats per image, after {EPOCHS} epochs with {SEEDS} "
        f"seeds.\n\n| | each seed | mean and deviation |\n|---|---|---|\n{table}\n\n"
        f"bfloat16 ends {away:+.1f} nats from float32, {verdict} float32's own deviation from seed to seed."
    )


if __name__ == "__main__":
    print(markdown(measure(Settings())))
