"""vae encode: the latents of a dataset, as a table."""

import logging
import math
import os
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
    run_verb("encode", ref_first(arguments, EncodeConfig), EncodeConfig, encode)


def encode(config: EncodeConfig) -> None:
    """Writes one row per image: its row in the dataset, part, label, and q(z | x).

    Raises:
        InputError: no such run, images of another shape, an empty part, or a table that cannot be written.
    """
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
    trained_on = run.config.dataset.binarization
    if data.binarization != trained_on:
        log.warning(
            "dataset.binarization=%s, but the model was trained with dataset.binarization=%s",
            data.binarization, trained_on,
        )  # fmt: skip
    parts = [part for part in PARTS if config.part in (part, "all") and len(getattr(data.parts, part))]
    if not parts:
        raise InputError(f"part={config.part}: the split leaves no image in it; choose another dataset/split, or part")
    table = latents(vae, data, parts, run.config.seed)
    _write(table, out)
    log.info("%s: %s rows, %s columns", out, f"{len(table):,}", len(table.columns))


def latents(vae: "VAE", data: "ImageData", parts: Sequence[Part], seed: int) -> "pd.DataFrame":
    """Columns row, part, label, mean_0 ..., and for a Gaussian posterior logvar_0 ..., in the dataset's order.

    Args:
        vae: the model.
        data: whose images are encoded, as the model is trained on them.
        parts: those to encode, none of them empty.
        seed: of the pixels that are drawn under a dynamic binarisation.
    """
    import numpy as np
    import pandas as pd

    from vae_experiments.data.dataset import blocks
    from vae_experiments.generation.codes import encode_dataset

    tables = []
    for part in parts:
        of_part = np.sort(getattr(data.parts, part))
        for block in blocks(len(of_part), math.prod(data.dataset.image_shape)):
            rows = of_part[block]
            codes = encode_dataset(vae, data.images(rows, seed))
            columns: dict[str, object] = {"row": rows, "part": part, "label": data.dataset.labels[rows]}
            for name, values in (("mean", codes.mean), ("logvar", codes.logvar)):
                if values is not None:
                    columns |= {f"{name}_{dim}": values[:, dim] for dim in range(values.shape[1])}
            tables.append(pd.DataFrame(columns))
    return pd.concat(tables).sort_values("row", ignore_index=True)


def _write(table: "pd.DataFrame", out: Path) -> None:
    """The whole table, or what was there before."""
    unfinished = out.with_name(f".writing-{out.name}")  # with its ending, which pandas goes by
    try:
        if out.suffix == ".parquet":
            table.to_parquet(unfinished, index=False)
        else:
            table.to_csv(unfinished, index=False)
        os.replace(unfinished, out)
    except OSError as error:
        raise InputError(f"out={out}: cannot be written ({error.strerror or error})") from error
    finally:
        unfinished.unlink(missing_ok=True)
