"""A section of the bench: what logging, checkpoints, figures and all the rest around training take of a default run.

python benchmarks/upkeep.py
"""

import statistics
from collections.abc import Mapping
from typing import Any

from command import VAE, run, scratch, watched, written
from settings import Settings

RUNS = 1  # of minutes each
WHAT = {
    "Checkpoint": "checkpoints",
    "LogMetrics": "metrics",
    "LogCheckpoints": "checkpoints into MLflow",
    "LogModels": "encoder and decoder as MLflow models",
    "UnfoldingManifold": "a manifold after each epoch",
    "Gallery": "the final pictures",
    "Diagnosis": "the diagnosis",
}


def measure(settings: Settings) -> list[dict[str, Any]]:
    """Of each run: its seconds from the first step on, and those of each hook."""
    with scratch() as folder:
        results = []
        for _ in range(RUNS):
            run((*VAE, "train", watched("Upkeep", path=folder / "upkeep")), folder, settings.threads)
            results.append(written(folder / "upkeep"))
        return results


def markdown(results: list[dict[str, Any]]) -> str:
    """The section."""

    def row(what: str, hooks: Mapping[str, str]) -> str:
        seconds = [sum(each["hooks"].get(name, 0.0) for name in hooks) for each in results]
        shares = [each / result["whole"] for each, result in zip(seconds, results, strict=True)]
        return f"| {what} | {statistics.median(seconds):.2f} | {statistics.median(shares):.1%} |"

    others = {name: "" for result in results for name in result["hooks"] if name not in WHAT}
    rows = [row(what, {name: what}) for name, what in WHAT.items()]
    rows += [
        row("all others", others),
        row("together", WHAT | others),
        f"| the run | {statistics.median(each['whole'] for each in results):.1f} | |",
    ]
    table = "\n".join(["| | seconds | of the run |", "|---|---:|---:|", *rows])
    return f"## Upkeep\n\nOf a default run, ten epochs of MNIST, from its first step on; medians.\n\n{table}"


if __name__ == "__main__":
    print(markdown(measure(Settings())))
