"""vae encode: the latents of a dataset, as a table."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vae_experiments.config.verb import ref_first, run_verb
from vae_experiments.data.source import Source
from vae_experiments.errors import InputError
from vae_experiments.tracking.config import TrackingConfig

if TYPE_CHECKING:
    import pandas as pd

    from vae_experiments.data.prepare import ImageData
    from vae_experiments.models.vae import VAE

log = logging.getLogger(__name__)

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class EncodeConfig:
    """The keys of conf/encode.yaml.

    Args:
        run: REF of the run.
        dataset: other images to encode; None for the run's own.
        part: one of its parts, or all of them.
        out: the table to write; its ending, .parquet or .csv (also .csv.gz), says how.
        trust: packages of yours whose classes the stored config may name.
        tracking: the store to find the run in.
    """

    run: str = "latest"
    dataset: Source | None = None
    part: Literal["train", "val", "test", "all"] = "all"
    out: str = "latents.parquet"
    trust: list[str] = field(default_factory=list)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)

    def __post_init__(self) -> None:
        if not self.out.endswith((".parquet", ".csv", ".csv.gz")):
            raise InputError(f"out={self.out}: must end in .parquet, .csv or .csv.gz")


def main(arguments: Sequence[str]) -> None:
    """Runs the verb; see `vae encode --help`."""
    run_verb("encode", ref_first(arguments), EncodeConfig, encode)


def encode(config: EncodeConfig) -> None:
    """Writes one row per image: its row in the dataset, part, label, and q(z | x)."""
    from vae_experiments.runs.trained import load_run

    out = Path(config.out)
    if not out.parent.is_dir():
        raise InputError(f"out={out}: there is no folder {out.parent}; make it first")
    run = load_run(config.run, config.tracking, config.trust)
    vae, data = run.vae(), run.data(config.dataset)
    if data.dataset.image_shape != vae.image_shape:
        raise InputError(
            f"dataset: its images are {data.dataset.image_shape}, the model takes {vae.image_shape} "
            "(channels, height, width)"
        )
    table = latents(vae, data, PARTS if config.part == "all" else (config.part,))
    try:
        if out.suffix == ".parquet":
            table.to_parquet(out, index=False)
        else:
            table.to_csv(out, index=False)
    except OSError as error:
        out.unlink(missing_ok=True)
        raise InputError(f"out={out}: {error.strerror}") from error
    log.info("%s: %s rows, %s columns", out, f"{len(table):,}", len(table.columns))


def latents(vae: "VAE", data: "ImageData", parts: Sequence[Part]) -> "pd.DataFrame":
    """Columns row, part, label, mean_0 ..., and for a Gaussian posterior logvar_0 ..., in the dataset's order."""
    import numpy as np
    import pandas as pd

    from vae_experiments.generation.codes import encode_dataset

    tables = []
    for part in parts:
        rows = np.sort(getattr(data.parts, part))
        codes = encode_dataset(vae, data.dataset.images[rows])
        columns: dict[str, object] = {"row": rows, "part": part, "label": data.dataset.labels[rows]}
        for name, values in (("mean", codes.mean), ("logvar", codes.logvar)):
            if values is not None:
                columns |= {f"{name}_{dim}": values[:, dim] for dim in range(values.shape[1])}
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables).sort_values("row", ignore_index=True)
