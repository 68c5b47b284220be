"""Where runs are recorded."""

from dataclasses import dataclass

from vae_experiments.errors import InputError


@dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    """Where runs are recorded.

    Args:
        enabled: False records nothing outside the run's folder.
        uri: an MLflow server (http://, https://) or database (sqlite:///, postgresql://, mysql://,
            mssql://); None is MLFLOW_TRACKING_URI where that is set, else mlflow.db in the working directory.
        experiment: the MLflow experiment that runs belong to.
    """

    enabled: bool = True
    uri: str | None = None
    experiment: str = "vae"

    def __post_init__(self) -> None:
        if self.uri is not None and not self.uri.strip():
            raise InputError("tracking.uri is empty: give an address, or null for MLFLOW_TRACKING_URI or mlflow.db")
        if not self.experiment.strip():
            raise InputError("tracking.experiment is empty: give the experiment a name")
        if len(self.experiment) > 500:
            raise InputError(f"tracking.experiment has {len(self.experiment)} characters: MLflow takes 500 at most")
