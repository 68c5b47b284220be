"""vae doctor: what this machine has, and what a run would choose on it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vae_experiments.config.verb import run_verb
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.training.config import TrainerConfig

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class DoctorConfig:
    """The keys of conf/doctor.yaml: what would be asked of a run."""

    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)


def main(arguments: Sequence[str]) -> None:
    """Runs the verb; see `vae doctor --help`."""
    run_verb("doctor", arguments, DoctorConfig, doctor)


def doctor(config: DoctorConfig) -> None:
    """Prints a line for each thing that a run depends on."""
    for topic, finding in findings(config):
        print(f"{topic:<12} {finding}")


def findings(config: DoctorConfig) -> list[tuple[str, str]]:
    """(topic, what was found) in the order of importance."""
    import importlib.metadata
    import os
    import platform
    import shutil
    from pathlib import Path

    import psutil
    import torch

    from vae_experiments.tracking.address import resolve_uri, shown
    from vae_experiments.training.hardware import choose

    def version(package: str) -> str:
        return f"{package} {importlib.metadata.version(package)}"

    memory, disk = psutil.virtual_memory(), shutil.disk_usage(".")
    packages = ("torch", "hydra-core", "omegaconf", "mlflow", "numpy")
    dot = shutil.which("dot")
    uri = shown(resolve_uri(config.tracking.uri)) if config.tracking.enabled else "off"
    data = Path(os.environ.get("VAE_DATA", "data"))
    return [
        (
            "program",
            f"{version('vae-experiments')}, Python {platform.python_version()} on {platform.platform()}",
        ),
        ("libraries", ", ".join(version(package) for package in packages)),
        ("processor", f"{os.cpu_count()} cores, {torch.get_num_threads()} threads by default"),
        ("memory", f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free"),
        ("disk", f"{disk.free / 2**30:.1f} GiB free here"),
        ("training", f"would run on {choose(config.trainer)}"),
        ("kernels", _kernels(config.trainer)),
        ("tracking", uri),
        ("data", f"{data.resolve()}{'' if data.is_dir() else ' (not there yet: made by the first run)'}"),
        ("diagrams", f"drawn by {dot}" if dot else "left out: install Graphviz for the program dot"),
    ]


def _kernels(trainer: TrainerConfig) -> str:
    """Those that a run on a CPU would take."""
    import torch

    if not trainer.kernels:
        return "left out: trainer.kernels=false"
    if not trainer.rewritten_layers:
        return f"layers left out: trainer.rewritten_layers=false; {_compiled(None)}"
    return "; ".join(map(_compiled, (torch.bfloat16, torch.float32, None)))


def _compiled(what: "torch.dtype | None") -> str:
    """For layers in a number format, or for updates of weights."""
    from vae_experiments.kernels import compiled

    why = compiled.why_not(what)
    name = "updates" if what is None else str(what).removeprefix("torch.")
    return f"{name} left out: {why}" if why else f"{name} compiled for {compiled.units(what)}"
