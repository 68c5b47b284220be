"""vae export: a trained model as files for other programs."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Gt, MinLen

from vae_experiments.config.verb import ref_first, run_verb
from vae_experiments.errors import InputError
from vae_experiments.tracking.config import TrackingConfig

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """The keys of conf/export.yaml.

    Args:
        run: REF of the run.
        format: one file format, or a list of them.
        out: folder for the files; None for exported/ in the run's folder.
        tolerance: how far any number out of a file may be from the model's own.
        trust: packages of yours whose classes the stored config may name.
        tracking: the store to find the run in.
    """

    run: str = "latest"
    format: Literal["onnx", "pt2"] | Annotated[list[Literal["onnx", "pt2"]], MinLen(1)] = field(
        default_factory=lambda: ["onnx", "pt2"]
    )
    out: str | None = None
    tolerance: Annotated[float, Gt(0)] = 1e-4
    trust: list[str] = field(default_factory=list)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)


def main(arguments: Sequence[str]) -> None:
    """Runs the verb; see `vae export --help`."""
    run_verb("export", ref_first(arguments, ExportConfig), ExportConfig, export)


def export(config: ExportConfig) -> None:
    """Writes the files, and prints of each how far it is from PyTorch.

    Raises:
        InputError: no such run, a package that is missing, a folder that cannot be written, or a file that is less
            exact than config.tolerance; such a file is not kept.
    """
    from vae_experiments.runs.trained import load_run
    from vae_experiments.use.export import export, missing_packages

    formats = [config.format] if isinstance(config.format, str) else list(dict.fromkeys(config.format))
    missing = missing_packages(formats)
    if missing:
        raise InputError(
            f"format=onnx needs {', '.join(missing)}: pip install 'vae-experiments[onnx]', or take format=pt2"
        )
    run = load_run(config.run, config.tracking, config.trust)
    out = Path(config.out) if config.out is not None else (run.reference.folder or Path()) / "exported"
    notes = {"run": run.reference.name, "run_id": run.reference.run_id or ""}
    try:
        out.mkdir(parents=True, exist_ok=True)
        for file in export(run.vae(), out, formats, tolerance=config.tolerance, notes=notes):
            print(f"{file.path}  within {file.difference:.1e} of PyTorch (tolerance {config.tolerance:g})")
    except OSError as error:
        raise InputError(f"out={out}: {error.strerror or error}; choose another folder") from error
