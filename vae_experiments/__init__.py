"""Variational-autoencoder experiments: composed by Hydra, trained by PyTorch, recorded by MLflow."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vae_experiments.use.model import TrainedModel

__version__ = "0.1.0"


def load(
    ref: str = "latest",
    *,
    uri: str | None = None,
    experiment: str = "vae",
    trust: Sequence[str] = (),
    device: str = "cpu",
) -> "TrainedModel":
    """A trained model, with `encode`, `decode`, `reconstruct` and `sample` on NumPy arrays or PyTorch tensors.

    Of the run's best epoch. A run's folder is enough: then no MLflow store is looked into.

    Args:
        ref: latest, best, an MLflow run id or the start of one, a run's name, its folder, or models:/name@alias.
        uri: the MLflow store; None: MLFLOW_TRACKING_URI, else mlflow.db in the working directory.
        experiment: where `latest` and `best` look.
        trust: packages of your own whose classes the stored config may name.
        device: where it computes, as PyTorch names it: cpu, cuda, cuda:1, mps.

    Raises:
        vae_experiments.errors.InputError: a ValueError of one line: no such run, no whole checkpoint, no such device.
    """
    # Here, so that the command line does not wait for PyTorch and MLflow.
    from vae_experiments.runs.trained import load_run
    from vae_experiments.tracking.config import TrackingConfig
    from vae_experiments.use.model import TrainedModel

    return TrainedModel.of(load_run(ref, TrackingConfig(uri=uri, experiment=experiment), trust), device)
