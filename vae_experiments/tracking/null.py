"""The record of a run that keeps none: tracking is off, or another process of the run keeps it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vae_experiments.models.vae import VAE
from vae_experiments.tracking.journal import Ending


class NullTracker:
    """Takes what a `training.run.Record` takes and does nothing with it."""

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None: ...

    def log_artifact(self, path: Path, folder: str = "") -> None: ...

    def log_image(self, image: NDArray[np.uint8], key: str, step: int) -> None: ...

    def log_models(self, vae: VAE) -> None: ...

    def set_tags(self, tags: Mapping[str, object]) -> None: ...

    def finish(self, status: Ending) -> bool:
        return True
