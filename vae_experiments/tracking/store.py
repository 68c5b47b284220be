"""The MLflow store, and the runs in it."""

import hashlib
import logging
import re
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Run, RunTag
from mlflow.exceptions import MlflowException

from vae_experiments.errors import InputError
from vae_experiments.lock import RunLock, is_held
from vae_experiments.tracking import set_mlflow_defaults
from vae_experiments.tracking.address import resolve_uri, shown, sqlite_path
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.tracking.journal import JOURNAL, is_tracked, last_status, read_start
from vae_experiments.tracking.names import FOLDER_TAG, HOST_TAG, clean_tags, key, text
from vae_experiments.tracking.opening import one_line, open_client

_log = logging.getLogger(__name__)

_EVERY_EPOCH = "train/"  # so begin the metrics whose steps are epochs, whatever is measured afterwards


@dataclass(frozen=True)
class RunRecord:
    """A run as the store has it.

    Args:
        folder: where it writes or wrote, on `host`; None for a run that is not ours.
        started: in UTC.
        metrics: the last value of each.
        epoch: the last one that it has recorded; 0 before the first has ended.
    """

    run_id: str
    name: str
    status: str
    experiment_id: str
    folder: Path | None
    host: str
    started: datetime
    metrics: dict[str, float]
    tags: dict[str, str]
    params: dict[str, str]
    epoch: int = 0


class Store:
    """An open MLflow store.

    Attributes:
        uri: absolute, and the same from every working directory.
        client: MLflow's own; never its module-level functions, which keep an "active run" of their own.
    """

    def __init__(self, uri: str, client: MlflowClient, experiment: str) -> None:
        self.uri = uri
        self.client = client
        self.experiment = experiment

    @classmethod
    def open(cls, config: TrackingConfig, uri: str | None = None, *, existing: bool = False) -> "Store":
        """Opens the store that `config` names (or `uri`), creating a database that is not there yet.

        What dead processes left RUNNING in it is put right on the way.

        Args:
            config: names the store and the experiment.
            uri: of the store, instead.
            existing: a database that is not there is away for the moment, and must not be made anew.

        Raises:
            StoreUnreachableError: no server answers, or an existing database is not where it was.
            InputError: it cannot be used, and why.
        """
        set_mlflow_defaults()
        uri = uri or resolve_uri(config.uri)
        client = open_client(uri, existing=existing)
        store = cls(uri, client, text(config.experiment, 500))
        store.repair_abandoned()
        return store

    def experiment_id(self) -> str:
        """The id of the configured experiment, which is created where there is none yet.

        Raises:
            InputError: it was deleted, or the server will not have it.
        """
        with one_line(self.uri):
            found = self.client.get_experiment_by_name(self.experiment)
            if found is None:
                with suppress(MlflowException):  # another process may be creating it at the same moment
                    return str(self.client.create_experiment(self.experiment, artifact_location=self._artifacts()))
                found = self.client.get_experiment_by_name(self.experiment)
            if found is None:
                # Once more, for the reason.
                return str(self.client.create_experiment(self.experiment))
        if found.lifecycle_stage != "active":
            raise InputError(
                f"tracking.experiment={self.experiment!r} was deleted from {shown(self.uri)}: "
                f"`mlflow experiments restore --experiment-id {found.experiment_id}`, or choose another name"
            )
        return str(found.experiment_id)

    def create_run(self, experiment_id: str, name: str, tags: Mapping[str, str], *, scheduled: bool = False) -> str:
        """A new run, RUNNING or, with nobody to run it yet, SCHEDULED; its id."""
        with one_line(self.uri):
            run_id = str(self.client.create_run(experiment_id, tags=dict(tags), run_name=name).info.run_id)
            if scheduled:
                self.client.update_run(run_id, status="SCHEDULED")
            return run_id

    def _artifacts(self) -> str | None:
        """Where a new experiment keeps its files; None for MLflow's own choice."""
        path = sqlite_path(self.uri)
        if path is None or (path.parent == Path.cwd() and not set("%#?") & set(str(path))):
            return None  # mlruns/ in the working directory, as `mlflow ui` has it, or the server's affair
        name = re.sub(r"[^\w-]", "_", self.experiment, flags=re.ASCII)[:40]
        digest = hashlib.sha256(self.experiment.encode()).hexdigest()[:8]
        return f"{(path.parent / 'mlruns').as_uri()}/{name}-{digest}"

    def runs(
        self, where: str = "", *, order_by: Sequence[str] = (), limit: int = 50, everywhere: bool = False
    ) -> list[RunRecord]:
        """Runs that match MLflow's filter `where`, the newest first unless `order_by` says otherwise.

        `everywhere` looks into every experiment, not only the configured one.
        """
        with one_line(self.uri):
            if everywhere:
                ids = [str(each.experiment_id) for each in self.client.search_experiments()]
            else:
                found = self.client.get_experiment_by_name(self.experiment)
                ids = [str(found.experiment_id)] if found else []
            if not ids:
                return []
            order = [*order_by, "attributes.start_time DESC"]
            found_runs = self.client.search_runs(ids, where, max_results=limit, order_by=order)
        return [_record(run) for run in found_runs]

    def run(self, run_id: str) -> RunRecord | None:
        """The run with exactly this id, unless it was deleted."""
        if not re.fullmatch(r"[a-zA-Z0-9][\w\-]{0,255}", run_id):
            return None
        with one_line(self.uri):
            try:
                run = self.client.get_run(run_id)
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return None
                raise
        return _record(run) if run.info.lifecycle_stage == "active" else None

    def run_with_tag(self, tag: str, value: str) -> RunRecord | None:
        """The run, of any experiment, whose `tag` has a value that no other run's has."""
        found = self.runs(f"tags.`{tag}` = '{value}'", limit=1, everywhere=True)
        return found[0] if found else None

    def experiment_name(self, experiment_id: str) -> str:
        """The name of the experiment with this id."""
        with one_line(self.uri):
            return str(self.client.get_experiment(experiment_id).name)

    def history(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """Every (step, value) of one run's metric, in order; of a step logged twice, the later value."""
        with one_line(self.uri):
            found = self.client.get_metric_history(run_id, metric)
        return sorted({each.step: each.value for each in sorted(found, key=lambda each: each.timestamp)}.items())

    def run_of_model(self, name: str, alias_or_version: str) -> RunRecord | None:
        """The run behind a registered model's alias or version."""
        try:
            if alias_or_version.isdigit():
                version = self.client.get_model_version(name, alias_or_version)
            else:
                version = self.client.get_model_version_by_alias(name, alias_or_version)
        except MlflowException:
            return None
        return self.run(version.run_id) if version.run_id else None

    def add_metrics(self, run_id: str, metrics: Mapping[str, float], tags: Mapping[str, object]) -> None:
        """Adds metrics, and the tags they are to be read with, to a run, whether or not it has ended.

        A metric that the run has already gets one step more, so that what is shown of it is the latest.

        Raises:
            InputError: the store cannot be reached.
        """
        clean = {key(name): value for name, value in metrics.items()}
        with one_line(self.uri):
            step = 1 + max((step for name in clean for step, _ in self.history(run_id, name)), default=-1)
            now = time.time_ns() // 1_000_000
            self.client.log_batch(
                run_id,
                metrics=[Metric(name, value, now, step) for name, value in clean.items()],
                tags=[RunTag(name, value) for name, value in clean_tags(tags).items()],
                synchronous=True,
            )

    def add_artifact(self, run_id: str, path: Path, folder: str) -> None:
        """Adds a file to a run, whether or not it has ended, below `folder` of its artifacts.

        Raises:
            InputError: the store cannot be reached.
        """
        with one_line(self.uri):
            self.client.log_artifact(run_id, str(path), folder)

    def download(self, run_id: str, path: str, into: Path) -> Path:
        """Copies an artifact of a run into a folder of this machine.

        Raises:
            InputError: the run has no such artifact, or the store cannot be reached.
        """
        into.mkdir(parents=True, exist_ok=True)
        with one_line(self.uri):
            return Path(self.client.download_artifacts(run_id, path, str(into)))

    def repair_abandoned(self) -> list[RunRecord]:
        """Gives an honest status to what dead processes of this machine left RUNNING; returns those runs."""
        # host_name holds no quote: text() of it does not change that
        where = f"attributes.status = 'RUNNING' AND tags.`{HOST_TAG}` = '{socket.gethostname()}'"
        repaired = []
        for run in self.runs(where, limit=1000, everywhere=True):
            if run.folder is None or is_held(run.folder):
                continue
            with suppress(InputError, OSError, MlflowException):
                if not run.folder.is_dir():
                    self.client.set_terminated(run.run_id, "KILLED")
                    repaired.append(run)
                    continue
                with RunLock(run.folder):  # so that nobody resumes it, or has just ended it, while we look
                    now = self.run(run.run_id)
                    if now is not None and now.status == "RUNNING":
                        self.client.set_terminated(run.run_id, *_ending(run, run.folder))
                        repaired.append(run)
        for run in repaired:
            _log.info("%s (%s) was left RUNNING by a process that is gone: corrected", run.name, run.run_id)
        return repaired


def _ending(run: RunRecord, folder: Path) -> tuple[str, int]:
    """Status and end, in milliseconds, of a run whose process is gone, from what it wrote down."""
    if not is_tracked(folder) or read_start(folder).data["run_id"] != run.run_id:
        # Killed before the journal's first line: the folder may have been given to another run since.
        return "KILLED", int(run.started.timestamp() * 1000)
    status = last_status(folder)
    end = (folder / JOURNAL).stat().st_mtime
    return status if status in ("FINISHED", "FAILED") else "KILLED", int(end * 1000)


def _record(run: Run) -> RunRecord:
    tags = dict(run.data.tags)
    folder = tags.get(FOLDER_TAG)
    return RunRecord(
        run_id=run.info.run_id,
        name=run.info.run_name or "",
        status=run.info.status,
        experiment_id=run.info.experiment_id,
        folder=Path(folder) if folder else None,
        host=tags.get(HOST_TAG, ""),
        started=datetime.fromtimestamp((run.info.start_time or 0) / 1000, UTC),
        metrics=dict(run.data.metrics),
        tags=tags,
        params=dict(run.data.params),
        epoch=max((each.step for each in run.data.to_proto().metrics if each.key.startswith(_EVERY_EPOCH)), default=0),
    )
