"""Carries one entry of the journal to MLflow; carrying it twice changes nothing."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mlflow import MlflowClient
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
    Param,
    RunTag,
)

from vae_experiments.tracking.journal import Entry
from vae_experiments.tracking.models import address_model
from vae_experiments.tracking.names import DIGEST_TAG
from vae_experiments.tracking.steps import Steps

T = TypeVar("T")

_BATCH = 100  # parameters or tags in one request
_METRICS = 1000  # metrics in one request


class Sender:
    """Sends entries of one run.

    Args:
        client: of the run's store.
        run_id: the MLflow run.
        experiment_id: its experiment.
        folder: the run's folder, which paths in entries are relative to.
    """

    def __init__(self, client: MlflowClient, run_id: str, experiment_id: str, folder: Path) -> None:
        self._client = client
        self._run_id = run_id
        self._experiment_id = experiment_id
        self._folder = folder
        self._arrived: dict[str, Steps] = {}  # of a metric: steps that the store has

    def send(self, entry: Entry, *, doubtful: bool) -> None:
        """Sends `entry`; `doubtful` if it may have arrived before.

        Raises:
            Exception: whatever MLflow or the network raises.
        """
        data = entry.data
        match entry.kind:
            case "params":
                for params in _parts(list(data["params"].items()), _BATCH):
                    self._batch(params=[Param(name, value) for name, value in params])
            case "tags":
                for tags in _parts(list(data["tags"].items()), _BATCH):
                    self._batch(tags=[RunTag(name, value) for name, value in tags])
            case "metrics":
                self._send_metrics(data["metrics"], data["step"], entry.time, doubtful)
            case "artifact":
                self._send_path(data["path"], data["folder"])
            case "image":
                for path in data["paths"]:
                    self._send_path(path, "images")
            case "dataset":
                context = InputTag("mlflow.data.context", data["context"])
                used = DatasetInput(Dataset(**data["dataset"]), [context])
                self._client.log_inputs(self._run_id, datasets=[used])
            case "model":
                self._send_model(data["name"], data["path"], data["digest"])
            case "status" if data["status"] == "RUNNING":
                self._client.update_run(self._run_id, status="RUNNING")
            case "status":
                self._client.set_terminated(self._run_id, data["status"], entry.time)
            case "start":
                pass  # the run was there before the journal

    def alive(self) -> bool:
        """Whether the store answers and still has the run."""
        return bool(self._client.get_run(self._run_id).info.lifecycle_stage == "active")

    def forget(self) -> None:
        """Drops what is known to have arrived: the next doubtful entry asks the store again."""
        self._arrived.clear()

    def _batch(self, **what: Sequence[Any]) -> None:
        self._client.log_batch(self._run_id, **what, synchronous=True)

    def _send_metrics(self, metrics: dict[str, float], step: int, time: int, doubtful: bool) -> None:
        if doubtful:
            metrics = {name: value for name, value in metrics.items() if step not in self._steps(name)}
        for part in _parts(list(metrics.items()), _METRICS):
            self._batch(metrics=[Metric(name, value, time, step) for name, value in part])
        for name in metrics:
            if name in self._arrived:
                self._arrived[name].add(step)

    def _steps(self, name: str) -> Steps:
        if name not in self._arrived:
            steps = Steps()
            for metric in self._client.get_metric_history(self._run_id, name):
                steps.add(metric.step)
            self._arrived[name] = steps
        return self._arrived[name]

    def _send_path(self, path: str, folder: str) -> None:
        local = self._folder / path
        if local.is_dir():
            below = f"{folder}/{local.name}" if folder else local.name
            self._client.log_artifacts(self._run_id, str(local), below)
        else:
            self._client.log_artifact(self._run_id, str(local), folder or None)

    def _send_model(self, name: str, path: str, digest: str) -> None:
        known = self._client.search_logged_models(
            [self._experiment_id], filter_string=f"source_run_id = '{self._run_id}'"
        )
        model = next((m for m in known if m.name == name and m.tags.get(DIGEST_TAG) == digest), None)
        if model is None:
            model = self._client.create_logged_model(
                self._experiment_id, name=name, source_run_id=self._run_id, tags={DIGEST_TAG: digest}
            )
        local = self._folder / path
        address_model(local, run_id=self._run_id, model_id=model.model_id, location=model.artifact_location)
        self._client.log_outputs(self._run_id, [LoggedModelOutput(model.model_id, step=0)])
        self._client.log_model_artifacts(model.model_id, str(local))
        self._client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)


def _parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
