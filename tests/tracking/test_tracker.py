import json
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vae_experiments.data.prepare import ImageData
from vae_experiments.errors import InputError
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.tracking.journal import CURSOR, JOURNAL, last_status, read_entries
from vae_experiments.tracking.store import Store
from vae_experiments.tracking.tracker import Tracker


@pytest.fixture(autouse=True)
def held(hold: Callable[[Path], None], tmp_path: Path) -> None:
    """What this process trains in these tests is not abandoned."""
    for name in ("run", "first", "second", "parent", "child"):
        hold(tmp_path / name)


def start(config: TrackingConfig, folder: Path, name: str = "r") -> Tracker:
    return Tracker.start(config, run_name=name, folder=folder, tags={"likelihood": "bernoulli"})


def run_of(config: TrackingConfig, run_id: str) -> Any:
    return Store.open(config).client.get_run(run_id)


def steps(config: TrackingConfig, run_id: str, metric: str) -> list[int]:
    return [each.step for each in Store.open(config).client.get_metric_history(run_id, metric)]


def artifacts(config: TrackingConfig, run_id: str, folder: str) -> list[str]:
    return sorted(each.path for each in Store.open(config).client.list_artifacts(run_id, folder))


def test_a_run_leaves_everything_it_was_told(config: TrackingConfig, tmp_path: Path, image_data: ImageData) -> None:
    folder = tmp_path / "run"
    tracker = start(config, folder)
    (folder / "config.yaml").write_text("seed: 1\n")
    tracker.log_config({"seed": 1, "objective": {"kl_weight": 0.5, "schedule": None}}, folder / "config.yaml")
    tracker.log_metrics({"val/elbo": -150.0, "time/epoch_seconds": float("nan")}, 1)
    tracker.log_image(np.zeros((8, 8), np.uint8), "manifold", 1)
    tracker.log_image(np.zeros((8, 8, 3), np.uint8), "manifold", 2)
    (folder / "figures").mkdir()
    (folder / "figures" / "loss.png").write_bytes(b"png")
    tracker.log_artifact(folder / "figures")
    tracker.log_dataset(image_data)
    assert run_of(config, tracker.run_id).info.status == "RUNNING"
    assert tracker.finish("FINISHED")

    run = run_of(config, tracker.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"seed": "1", "objective.kl_weight": "0.5", "objective.schedule": "null"}
    assert run.data.metrics["val/elbo"] == -150.0
    assert np.isnan(run.data.metrics["time/epoch_seconds"])
    assert run.data.tags["likelihood"] == "bernoulli"
    assert run.data.tags["vae.folder"] == str(folder)
    assert run.data.tags["vae.pid"] == str(os.getpid())
    assert run.data.tags["mlflow.user"]
    assert artifacts(config, tracker.run_id, "figures") == ["figures/loss.png"]
    environment = artifacts(config, tracker.run_id, "environment")
    assert {"environment/machine.json", "environment/packages.txt"} <= set(environment)
    images = artifacts(config, tracker.run_id, "images")
    assert len([name for name in images if name.endswith(".png") and "manifold+step+" in name]) == 2
    assert run.data.tags["mlflow.loggedImages"] == "True"
    used = run.inputs.dataset_inputs[0].dataset
    assert (used.name, used.digest) == ("tiny", image_data.dataset.digest[:36])
    assert '"num_train": 6' in used.profile


def test_mlflows_own_environment_and_active_run_do_not_divert_a_run(
    config: TrackingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    first = start(config, tmp_path / "first")
    monkeypatch.setenv("MLFLOW_RUN_ID", first.run_id)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "elsewhere")
    second = start(config, tmp_path / "second")
    second.log_metrics({"m": 1.0}, 1)
    assert second.finish("FINISHED")
    assert second.run_id != first.run_id
    assert run_of(config, first.run_id).data.metrics == {}
    assert run_of(config, first.run_id).info.status == "RUNNING"
    assert mlflow.active_run() is None


def test_a_child_run_names_its_parent(config: TrackingConfig, tmp_path: Path) -> None:
    parent = start(config, tmp_path / "parent")
    child = Tracker.start(config, run_name="c", folder=tmp_path / "child", tags={}, parent_run_id=parent.run_id)
    assert run_of(config, child.run_id).data.tags["mlflow.parentRunId"] == parent.run_id


@pytest.mark.parametrize(
    "name", ["", "a/b\\c", "q'\"`%", "\u00fc\u4e2d\U0001f600", "x" * 1000, "line\nbreak\0", "\udc80"]
)
def test_any_run_name_and_key_will_do(name: str, config: TrackingConfig, tmp_path: Path) -> None:
    tracker = start(config, tmp_path / "run", name)
    tracker.log_params({name: name})
    tracker.log_metrics({f"class/{name}": 1.0}, 1)
    tracker.set_tags({name: name})
    tracker.log_image(np.zeros((4, 4), np.uint8), name, 1)
    assert tracker.finish("FINISHED")
    run = run_of(config, tracker.run_id)
    assert run.info.run_name == (name if name.isprintable() and 0 < len(name) < 250 else run.info.run_name) != ""
    assert len(run.data.params) == len(run.data.metrics) == 1


def test_many_and_long_parameters_all_arrive(config: TrackingConfig, tmp_path: Path) -> None:
    tracker = start(config, tmp_path / "run")
    tracker.log_params({f"p{i}": "\u00fc" * 7000 if i == 0 else i for i in range(250)})
    assert tracker.finish("FINISHED")
    params = run_of(config, tracker.run_id).data.params
    assert len(params) == 250
    assert len(params["p0"]) == 6000


def test_a_resumed_run_goes_on_in_the_same_run_and_doubles_nothing(
    config: TrackingConfig, tmp_path: Path, image_data: ImageData, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = start(config, tmp_path / "run")
    for step in (1, 2):
        tracker.log_metrics({"a": step, "b": step}, step)
    tracker.log_params({"epochs": 2})
    tracker.log_image(np.zeros((4, 4), np.uint8), "manifold", 2)
    tracker.log_dataset(image_data)
    tracker.finish("KILLED")
    again = Tracker.resume(config, folder=tmp_path / "run")
    assert again.run_id == tracker.run_id
    assert run_of(config, tracker.run_id).info.status == "RUNNING"
    for step in (2, 3):
        again.log_metrics({"a": step, "b": step, "c": step}, step)
    again.log_params({"epochs": 3, "new": 1})
    again.log_image(np.zeros((4, 4), np.uint8), "manifold", 2)
    again.log_dataset(image_data)
    assert again.finish("FINISHED")
    assert steps(config, tracker.run_id, "a") == [1, 2, 3]
    assert steps(config, tracker.run_id, "c") == [2, 3]
    run = run_of(config, tracker.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"epochs": "2", "new": "1"}
    assert "keeps the first value of a parameter, here of epochs" in caplog.text
    assert len(artifacts(config, tracker.run_id, "images")) == 2
    assert len(run.inputs.dataset_inputs) == 1


def test_what_was_sent_without_the_cursor_knowing_is_not_doubled(config: TrackingConfig, tmp_path: Path) -> None:
    tracker = start(config, tmp_path / "run")
    for step in (1, 2, 3):
        tracker.log_metrics({"a": step, "b": step}, step)
    (tmp_path / "run" / CURSOR).unlink()
    # With other times than the store has, so that its own keys do not catch the repetition.
    journal = tmp_path / "run" / JOURNAL
    journal.write_text(re.sub(r'"time": \d', '"time": 2', journal.read_text()))
    again = Tracker.resume(config, folder=tmp_path / "run")
    assert again.finish("FINISHED")
    assert steps(config, tracker.run_id, "a") == steps(config, tracker.run_id, "b") == [1, 2, 3]


LOG_UNTIL_KILLED = """
import sys
from pathlib import Path
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.tracking.tracker import Tracker
uri, folder = sys.argv[1:]
tracker = Tracker.start(TrackingConfig(uri=uri), run_name="r", folder=Path(folder), tags={})
for step in range(1, 10_000):
    print(step, flush=True)
    tracker.log_metrics({f"m{i}": float(step) for i in range(5)}, step)
"""


def test_sigkill_between_logging_calls_neither_loses_nor_doubles(config: TrackingConfig, tmp_path: Path) -> None:
    assert config.uri is not None
    child = subprocess.Popen(
        [sys.executable, "-c", LOG_UNTIL_KILLED, config.uri, str(tmp_path / "run")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    for line in child.stdout:
        if line.strip() == "12":
            break
    child.send_signal(signal.SIGKILL)
    child.wait()
    with (tmp_path / "run" / JOURNAL).open("ab") as journal:
        journal.write(b'{"kind": "metrics", "time": 1, "metr')  # a kill in the middle of a write
    tracker = Tracker.resume(config, folder=tmp_path / "run")
    for step in range(10, 31):
        tracker.log_metrics({f"m{i}": float(step) for i in range(5)}, step)
    assert tracker.finish("FINISHED")
    for i in range(5):
        assert steps(config, tracker.run_id, f"m{i}") == list(range(1, 31))


def test_one_thing_that_is_refused_does_not_hold_up_the_rest(
    config: TrackingConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = start(config, tmp_path / "run")
    tracker.log_artifact(tmp_path / "run" / "not-there-yet.txt")
    tracker.log_metrics({"a": 1.0}, 1)
    assert steps(config, tracker.run_id, "a") == [1]
    assert not tracker.finish("FINISHED")
    assert f"vae resume {tmp_path / 'run'}" in caplog.text
    (tmp_path / "run" / "not-there-yet.txt").write_text("now")
    assert Tracker.deliver(config, folder=tmp_path / "run", status="FINISHED")
    run = run_of(config, tracker.run_id)
    assert run.info.status == "FINISHED"
    assert artifacts(config, tracker.run_id, "") == ["environment", "not-there-yet.txt"]


def test_a_folder_belongs_to_one_run(config: TrackingConfig, tmp_path: Path) -> None:
    start(config, tmp_path / "run")
    with pytest.raises(InputError, match="already belongs to a run"):
        start(config, tmp_path / "run")


def test_a_run_that_its_store_does_not_have_is_said(config: TrackingConfig, tmp_path: Path) -> None:
    tracker = start(config, tmp_path / "run")
    Store.open(config).client.delete_run(tracker.run_id)
    with pytest.raises(InputError, match=r"is not in sqlite:"):
        Tracker.resume(config, folder=tmp_path / "run")
    with pytest.raises(InputError, match="not the folder of a tracked run"):
        Tracker.resume(config, folder=tmp_path)


def test_a_resumed_run_stays_in_its_store_wherever_it_is_called_from(
    config: TrackingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    default = TrackingConfig()  # mlflow.db in the working directory
    tracker = start(default, tmp_path / "run")
    tracker.finish("KILLED")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/elsewhere/other.db")
    with caplog.at_level(logging.WARNING):
        assert Tracker.resume(default, folder=tmp_path / "run").finish("FINISHED")
    assert run_of(config, tracker.run_id).info.status == "FINISHED"
    assert not (tmp_path / "elsewhere" / "other.db").exists()


def test_an_end_that_a_kill_kept_out_of_the_record_is_recorded_later(config: TrackingConfig, tmp_path: Path) -> None:
    tracker = start(config, tmp_path / "run")
    assert last_status(tmp_path / "run") is None
    for _ in range(2):
        assert Tracker.deliver(config, folder=tmp_path / "run", status="FINISHED")
    assert run_of(config, tracker.run_id).info.status == "FINISHED"
    assert [entry.data["status"] for entry in read_entries(tmp_path / "run") if entry.kind == "status"] == ["FINISHED"]


def test_a_store_that_has_moved_is_followed(
    config: TrackingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = start(config, tmp_path / "run")
    tracker.finish("KILLED")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(config.uri))  # of before the move
    (tmp_path / "moved").mkdir()
    for path in tmp_path.glob("mlflow.db*"):
        path.rename(tmp_path / "moved" / path.name)
    moved = TrackingConfig(uri=f"sqlite:///{tmp_path}/moved/mlflow.db")
    again = Tracker.resume(moved, folder=tmp_path / "run")
    assert again.uri == moved.uri
    assert again.finish("FINISHED")
    assert run_of(moved, tracker.run_id).info.status == "FINISHED"
    assert not (tmp_path / "mlflow.db").exists()


LOG_UNTIL_FULL = """
import sys
from pathlib import Path
from vae_experiments.errors import RunFailed
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.tracking.tracker import Tracker
uri, folder = sys.argv[1:]
tracker = Tracker.start(TrackingConfig(uri=uri), run_name="r", folder=Path(folder), tags={})
try:
    for step in range(1, 1000):
        tracker.set_tags({f"t{i}": "x" * 5000 for i in range(100)})
except RunFailed as error:
    print(error)
tracker.finish("FAILED")
print("ended")
"""


def test_a_full_disk_ends_a_run_in_one_line_and_the_record_goes_on_later(
    config: TrackingConfig, tmp_path: Path
) -> None:
    assert config.uri is not None
    folder = tmp_path / "full disk"
    # A limit on the size of files stands in for a disk without room: writes fail part of the way, for real.
    command = ["bash", "-c", 'ulimit -f 3000; exec "$@"', "-", sys.executable, "-c", LOG_UNTIL_FULL]
    ended = subprocess.run([*command, config.uri, str(folder)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    said, last = ended.stdout.splitlines()
    assert said.startswith(f"cannot write {folder / JOURNAL}: ")
    assert said.endswith(f": free some space, then vae resume '{folder}'")
    assert last == "ended"
    for line in (folder / JOURNAL).read_bytes().splitlines(keepends=True):
        assert line.endswith(b"\n")
        json.loads(line)
    tracker = Tracker.resume(config, folder=folder)
    tracker.log_metrics({"a": 1.0}, 1)
    assert tracker.finish("FINISHED")
    assert run_of(config, tracker.run_id).info.status == "FINISHED"
    assert steps(config, tracker.run_id, "a") == [1]
