"""The record of a run that keeps none: tracking is off, or another process of the run keeps it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vae_experiments.data.prepare import ImageData
from vae_experiments.models.vae import VAE


class NullTracker:
    """Takes what a Tracker takes and does nothing with it."""

    run_id = ""
    uri = ""

    def log_config(self, config: Mapping[str, object], path: Path) -> None: ...

    def log_params(self, params: Mapping[str, object]) -> None: ...

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None: ...

    def set_tags(self, tags: Mapping[str, object]) -> None: ...

    def log_artifact(self, path: Path, folder: str = "") -> None: ...

    def log_image(self, image: NDArray[np.uint8], key: str, step: int) -> None: ...

    def log_dataset(self, data: ImageData, context: str = "training") -> None: ...

    def log_models(self, vae: VAE) -> None: ...

    def finish(self, status: Literal["FINISHED", "FAILED", "KILLED"]) -> bool:
        return True
