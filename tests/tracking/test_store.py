import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vae_experiments.errors import InputError
from vae_experiments.lock import RunLock
from vae_experiments.tracking.address import resolve_uri
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.tracking.store import Store
from vae_experiments.tracking.tracker import Tracker

NewStore = Callable[[Path], TrackingConfig]


def test_the_store_is_in_the_working_directory_unless_said_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert resolve_uri(None) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://from-the-environment:1/")
    assert resolve_uri(None) == "http://from-the-environment:1"
    assert resolve_uri("sqlite:///here.db") == f"sqlite:///{tmp_path}/here.db"


@pytest.mark.parametrize(
    "uri", ["file:///tmp/mlruns", "mlruns", "ftp://host/x", "sqlite://", "sqlite:///:memory:", "http://"]
)
def test_an_address_that_cannot_hold_runs_is_refused_in_one_line(uri: str) -> None:
    with pytest.raises(InputError, match=r"tracking\.uri=.*") as refused:
        resolve_uri(uri)
    assert "\n" not in str(refused.value)


def test_a_server_that_is_not_there_is_said_within_seconds() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        began = time.monotonic()
        with pytest.raises(InputError, match="no server answers there") as refused:
            Store.open(TrackingConfig(uri=f"http://me:secret@127.0.0.1:{taken.getsockname()[1]}"))
    assert time.monotonic() - began < 5
    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_place_that_cannot_hold_a_database_is_said_within_seconds(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a database, and long enough for sqlite to see that" * 20)
    began = time.monotonic()
    for path in (tmp_path / "file" / "mlflow.db", tmp_path / "file", tmp_path):
        with pytest.raises(InputError, match="cannot be used for tracking") as refused:
            Store.open(TrackingConfig(uri=f"sqlite:///{path}"))
        assert "\n" not in str(refused.value)
    assert time.monotonic() - began < 5


@pytest.mark.skipif(os.geteuid() == 0, reason="an administrator may write everywhere")
def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="cannot be used for tracking"):
        Store.open(TrackingConfig(uri=f"sqlite:///{tmp_path}/mlflow.db"))


def test_four_processes_may_create_the_store_at_once_and_say_nothing(tmp_path: Path) -> None:
    script = """
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.tracking.store import Store
store = Store.open(TrackingConfig())
run = store.create_run(store.experiment_id(), "r", {})
store.client.log_metric(run, "m", 1.0)
"""
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    children = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for _ in range(4)
    ]
    for child in children:
        said, _ = child.communicate(timeout=120)
        assert (child.returncode, said.decode()) == (0, "")
    runs = Store.open(TrackingConfig(uri=f"sqlite:///{tmp_path}/mlflow.db")).runs()
    assert [run.metrics for run in runs] == [{"m": 1.0}] * 4
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("name", ["plain", "a b", "odd %20 # & \u00fc'", "what?"])
def test_any_folder_name_will_do(
    name: str, tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "mlflow.db").write_bytes(empty_database.read_bytes())
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    tracker = Tracker.start(TrackingConfig(), run_name="r", folder=folder / "outputs", tags={})
    (folder / "x.txt").write_text("content")
    tracker.log_artifact(folder / "x.txt", "notes")
    assert tracker.finish("FINISHED")
    store = Store.open(TrackingConfig())
    assert store.download(tracker.run_id, "notes/x.txt", tmp_path / "back").read_text() == "content"
    assert list(folder.glob("mlruns/**/artifacts/notes/x.txt"))


@pytest.mark.parametrize("name", ["a/b", "q'\"`x", "\u00fcber", "..", "a" * 500, "%s {} #", "-- ; DROP TABLE runs"])
def test_any_experiment_name_will_do(name: str, config: TrackingConfig) -> None:
    named = TrackingConfig(uri=config.uri, experiment=name)
    store = Store.open(named)
    first = store.experiment_id()
    assert store.experiment_id() == first
    run_id = store.create_run(first, "r", {})
    assert [run.run_id for run in store.runs()] == [run_id]


def test_an_experiment_without_a_name_is_refused() -> None:
    with pytest.raises(InputError, match=r"tracking\.experiment is empty"):
        TrackingConfig(experiment=" ")


def test_a_deleted_experiment_is_refused_with_the_way_back(config: TrackingConfig) -> None:
    store = Store.open(config)
    store.client.delete_experiment(store.experiment_id())
    with pytest.raises(InputError, match="mlflow experiments restore"):
        store.experiment_id()


RUN_AND_WAIT = """
import sys, time
from pathlib import Path
from vae_experiments.lock import RunLock
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.tracking.tracker import Tracker
uri, folder = sys.argv[1:]
with RunLock(Path(folder)):
    tracker = Tracker.start(TrackingConfig(uri=uri), run_name="r", folder=Path(folder), tags={})
    print(tracker.run_id, flush=True)
    time.sleep(300)
"""


def test_only_what_a_dead_process_left_running_is_put_right(config: TrackingConfig, tmp_path: Path) -> None:
    assert config.uri is not None
    with RunLock(tmp_path / "alive"):
        alive = Tracker.start(config, run_name="alive", folder=tmp_path / "alive", tags={})
        child = subprocess.Popen(
            [sys.executable, "-c", RUN_AND_WAIT, config.uri, str(tmp_path / "dead")],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        dead = child.stdout.readline().strip()
        elsewhere = Tracker.start(config, run_name="elsewhere", folder=tmp_path / "elsewhere", tags={"vae.host": "x"})
        store = Store.open(config)
        assert {run.status for run in store.runs()} == {"RUNNING"}
        child.send_signal(signal.SIGKILL)
        child.wait()
        Store.open(config)
        status = {run.run_id: run.status for run in store.runs()}
        assert status == {dead: "KILLED", alive.run_id: "RUNNING", elsewhere.run_id: "RUNNING"}
        alive.finish("FINISHED")


def test_a_run_that_ended_unheard_gets_the_status_it_wrote_down(config: TrackingConfig, tmp_path: Path) -> None:
    tracker = Tracker.start(config, run_name="r", folder=tmp_path / "run", tags={})
    tracker.finish("FINISHED")
    store = Store.open(config)
    store.client.update_run(tracker.run_id, status="RUNNING")  # as if the last message had been lost
    Store.open(config)
    run = store.run(tracker.run_id)
    assert run is not None
    assert run.status == "FINISHED"


def test_a_run_killed_before_its_journal_began_takes_no_other_runs_status(
    config: TrackingConfig, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    store = Store.open(config)
    tags = {"vae.folder": str(folder), "vae.host": socket.gethostname()}
    orphan = store.create_run(store.experiment_id(), "r", tags)
    with RunLock(folder):
        tracker = Tracker.start(config, run_name="r", folder=folder, tags={})
        tracker.finish("FINISHED")
    Store.open(config)
    status = {run.run_id: run.status for run in store.runs()}
    assert status == {orphan: "KILLED", tracker.run_id: "FINISHED"}


def test_metrics_added_to_an_ended_run_go_a_step_on_each_time_and_leave_its_status(
    config: TrackingConfig, tmp_path: Path
) -> None:
    tracker = Tracker.start(config, run_name="r", folder=tmp_path / "run", tags={})
    tracker.log_metrics({"val/elbo": -3.0, "test/elbo": -2.5}, step=4)
    tracker.finish("FINISHED")
    store = Store.open(config)
    before = store.client.get_run(tracker.run_id).info
    store.add_metrics(tracker.run_id, {"test/elbo": -2.0, "test/kl": 1.0}, {"evaluation.seed": 0})
    store.add_metrics(tracker.run_id, {"test/kl": 1.5}, {"evaluation.seed": 7})
    store.add_metrics(tracker.run_id, {"test/new": 9.0}, {})
    run = store.run(tracker.run_id)
    assert run is not None
    assert run.metrics == {"val/elbo": -3.0, "test/elbo": -2.0, "test/kl": 1.5, "test/new": 9.0}
    assert run.tags["evaluation.seed"] == "7"
    assert store.history(tracker.run_id, "test/elbo") == [(4, -2.5), (5, -2.0)]
    # All figures of one call stand at one step, behind whatever any of them had.
    assert store.history(tracker.run_id, "test/kl") == [(5, 1.0), (6, 1.5)]
    assert store.history(tracker.run_id, "test/new") == [(0, 9.0)]
    after = store.client.get_run(tracker.run_id).info
    assert (after.status, after.end_time) == (before.status, before.end_time)


def test_files_added_to_an_ended_run_are_among_its_artifacts(config: TrackingConfig, tmp_path: Path) -> None:
    tracker = Tracker.start(config, run_name="r", folder=tmp_path / "run", tags={})
    tracker.finish("FINISHED")
    (tmp_path / "test.json").write_text("{}")
    store = Store.open(config)
    store.add_artifact(tracker.run_id, tmp_path / "test.json", "evaluation")
    assert store.download(tracker.run_id, "evaluation/test.json", tmp_path / "back").read_text() == "{}"


def test_adding_to_a_run_that_is_gone_is_one_line(config: TrackingConfig) -> None:
    with pytest.raises(InputError) as refused:
        Store.open(config).add_metrics("0" * 32, {"test/elbo": 1.0}, {})
    assert "\n" not in str(refused.value)
