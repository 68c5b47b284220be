import logging
import os
from pathlib import Path

import pytest

from vae_experiments.errors import InputError
from vae_experiments.lock import RunLock
from vae_experiments.runs.folder import RunFolder, RunInfo, Status
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.tracking.journal import last_status
from vae_experiments.tracking.store import Store
from vae_experiments.tracking.tracker import Tracker
from vae_experiments.verbs.resume import ResumeConfig, resume


def make_folder(path: Path, status: Status, age: float = 0.0, **tracking: object) -> RunFolder:
    """A run's folder as it stands `age` seconds after the run's end."""
    path.mkdir(parents=True, exist_ok=True)
    folder = RunFolder(path)
    target = "vae_experiments.tracking.config.TrackingConfig"
    folder.write_config({"tracking": {"_target_": target, **tracking}})
    folder.write_info(RunInfo("r", "0" * 64, status))
    then = (path / "run.json").stat().st_mtime - age
    os.utime(path / "run.json", (then, then))
    return folder


def unheard(config: TrackingConfig, folder: Path) -> str:
    """A run that ended without MLflow, or its own journal, having heard so; its id."""
    with RunLock(folder):
        return Tracker.start(config, run_name="r", folder=folder, tags={}).run_id


@pytest.fixture
def database(tmp_path: Path) -> TrackingConfig:
    return TrackingConfig(uri=f"sqlite:///{tmp_path}/mlflow.db")


def test_the_latest_of_all_killed_runs_comes_before_any_that_failed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    make_folder(Path("outputs/failed"), "FAILED", age=1)
    make_folder(Path("outputs/older"), "KILLED", age=30)
    make_folder(Path("multirun/other"), "KILLED", age=20)
    make_folder(Path("multirun/sweep/0"), "KILLED")  # a job: its sweep's affair
    make_folder(Path("multirun/sweep"), "FINISHED")
    for expected in ("multirun/other", "outputs/older", "outputs/failed"):
        with pytest.raises(InputError, match="is missing"):  # these configs are no whole run's
            resume(ResumeConfig())
        assert caplog.messages[-1] == f"resuming {expected}"
        (Path(expected) / "run.json").unlink()
    with pytest.raises(InputError, match="no unfinished run"):
        resume(ResumeConfig())


def test_a_finished_run_is_recorded_where_its_store_is_now(database: TrackingConfig, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run_id = unheard(database, folder)
    make_folder(folder, "FINISHED", uri=database.uri)
    (tmp_path / "moved").mkdir()
    for path in tmp_path.glob("mlflow.db*"):
        path.rename(tmp_path / "moved" / path.name)
    moved = TrackingConfig(uri=f"sqlite:///{tmp_path}/moved/mlflow.db")
    resume(ResumeConfig(run=str(folder), tracking=moved), ["uri"])
    run = Store.open(moved).run(run_id)
    assert run is not None
    assert run.status == last_status(folder) == "FINISHED"
    assert not (tmp_path / "mlflow.db").exists()


def test_without_one_given_the_runs_own_store_counts(database: TrackingConfig, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run_id = unheard(database, folder)
    make_folder(folder, "FINISHED", uri=database.uri)
    elsewhere = TrackingConfig(uri=f"sqlite:///{tmp_path}/other.db", enabled=False)
    resume(ResumeConfig(run=str(folder), tracking=elsewhere))
    run = Store.open(database).run(run_id)
    assert run is not None
    assert run.status == "FINISHED"


def test_nothing_is_recorded_while_another_process_writes_the_run(database: TrackingConfig, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    unheard(database, folder)
    make_folder(folder, "FINISHED", uri=database.uri)
    with RunLock(folder), pytest.raises(InputError, match="another process is writing this run"):
        resume(ResumeConfig(run=str(folder)))
    assert last_status(folder) is None


def test_a_stored_tracking_section_is_checked(tmp_path: Path) -> None:
    make_folder(tmp_path / "run", "FINISHED", experimant="x")
    with pytest.raises(InputError, match="experimant: no such key"):
        resume(ResumeConfig(run=str(tmp_path / "run")))
