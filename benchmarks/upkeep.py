"""A section of the bench: what logging, checkpoints, figures and all other hooks take of a default run.

python benchmarks/upkeep.py
"""

from collections.abc import Iterable
from typing import Any

from command import VAE, run, scratch, watched, written
from settings import Settings

WHAT = {
    "Checkpoint": "checkpoints",
    "LogMetrics": "metrics",
    "LogCheckpoints": "checkpoints into MLflow",
    "LogModels": "encoder and decoder as MLflow models",
    "UnfoldingManifold": "a manifold after each epoch",
    "Gallery": "the final pictures",
    "Diagnosis": "the diagnosis",
}


def measure(settings: Settings) -> dict[str, Any]:
    """The run's epochs, its seconds from the first step on, and those of each hook."""
    with scratch() as folder:
        run((*VAE, "train", watched("Upkeep", path=folder / "upkeep")), folder, settings.threads)
        measured: dict[str, Any] = written(folder / "upkeep")
    return measured


def markdown(measured: dict[str, Any]) -> str:
    """The section."""
    hooks: dict[str, float] = measured["hooks"]

    def row(what: str, names: Iterable[str]) -> str:
        seconds = sum(hooks.get(name, 0.0) for name in names)
        return f"| {what} | {seconds:.2f} | {seconds / measured['whole']:.1%} |"

    rows = [row(what, [name]) for name, what in WHAT.items()]
    rows += [row("all others", hooks.keys() - WHAT.keys()), row("together", hooks)]
    table = ["| | seconds | of the run |", "|---|---:|---:|", *rows, f"| the run | {measured['whole']:.1f} | |"]
    introduction = f"Of a default run, {measured['epochs']} epochs of MNIST, from its first step on."
    return "\n\n".join(["## Upkeep", introduction, "\n".join(table)])


if __name__ == "__main__":
    print(markdown(measure(Settings())))
