"""Against a real MLflow server that is killed and started again in the middle of a run."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests

from vae_experiments.errors import InputError
from vae_experiments.tracking import delivery
from vae_experiments.tracking.address import without_password
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.tracking.store import Store
from vae_experiments.tracking.tracker import Tracker


class Server:
    """`mlflow server` on loopback, over a database in `folder`."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder = folder
        self.uri = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(self.port)]
        command += ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db"]
        self.process = subprocess.Popen(
            command,
            cwd=self.folder,
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for _ in range(300):
            try:
                if requests.get(f"{self.uri}/health", timeout=1).ok:
                    return
            except requests.RequestException:
                time.sleep(0.1)
        pytest.fail("the server does not start")

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def server(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "mlflow.db").write_bytes(empty_database.read_bytes())
    server = Server(folder)
    yield server
    server.kill()


def test_a_server_that_goes_away_costs_a_delay(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(delivery, "_BACK_OFF", (0.5, 0.5))
    monkeypatch.setattr(delivery, "_FINISH_SECONDS", 1.0)
    config = TrackingConfig(uri=server.uri)
    folder = tmp_path / "run"

    def client():  # type: ignore[no-untyped-def]
        return Store.open(config).client

    tracker = Tracker.start(config, run_name="r", folder=folder, tags={})
    stays = Tracker.start(config, run_name="stays", folder=tmp_path / "stays", tags={})
    tracker.log_metrics({"a": 1.0, "b": 1.0}, 1)

    server.kill()
    began = time.monotonic()
    (folder / "picture.png").write_bytes(b"png")
    for step in (2, 3, 4):
        tracker.log_metrics({"a": step, "b": step}, step)
        tracker.log_artifact(folder / "picture.png", "figures")
    tracker.log_image(np.zeros((4, 4), np.uint8), "manifold", 4)
    tracker.log_params({"seed": 1})
    assert time.monotonic() - began < 10
    assert caplog.text.count("MLflow does not answer") == 1
    assert not stays.finish("FINISHED")
    assert f"vae resume {tmp_path / 'stays'}" in caplog.text
    # A run that is taken up while the server is still away goes on, too.
    tracker = Tracker.resume(config, folder=folder)
    tracker.log_metrics({"a": 4.0, "b": 4.0}, 4)
    tracker.log_metrics({"a": 5.0, "b": 5.0}, 5)

    server.start()
    time.sleep(0.6)  # longer than the pause between tries
    tracker.log_metrics({"a": 6.0}, 6)
    assert [each.step for each in client().get_metric_history(tracker.run_id, "a")] == [1, 2, 3, 4, 5, 6]
    assert tracker.finish("FINISHED")
    run = client().get_run(tracker.run_id)
    assert [each.step for each in client().get_metric_history(tracker.run_id, "b")] == [1, 2, 3, 4, 5]
    assert run.info.status == "FINISHED"
    assert run.data.params == {"seed": "1"}
    assert run.data.tags["vae.tracking"] == "delayed"
    assert [each.path for each in client().list_artifacts(tracker.run_id, "figures")] == ["figures/picture.png"]
    assert len(client().list_artifacts(tracker.run_id, "images")) == 2

    assert Tracker.deliver(config, folder=tmp_path / "stays", status="FINISHED")
    assert client().get_run(stays.run_id).info.status == "FINISHED"


def test_a_password_is_kept_nowhere_and_taken_back_when_a_run_is_resumed(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = tmp_path / "run"
    password = secrets.token_hex()
    whole = TrackingConfig(uri=server.uri.replace("//", f"//me:{password}@"))
    tracker = Tracker.start(whole, run_name="r", folder=folder, tags={})
    plain = {"seed": 1, "tracking": {"uri": whole.uri}}
    (folder / "config.yaml").write_text(json.dumps(without_password(plain)))
    tracker.log_config(plain, folder / "config.yaml")
    assert tracker.finish("KILLED")
    run = Store.open(whole).client.get_run(tracker.run_id)
    assert run.data.params["tracking.uri"] == server.uri.replace("//", "//***@")
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in written if password.encode() in path.read_bytes()]
    assert password not in "".join(capfd.readouterr())

    stored = TrackingConfig(uri=without_password(plain)["tracking"]["uri"])
    with pytest.raises(InputError, match="set MLFLOW_TRACKING_URI to the whole address"):
        Tracker.resume(stored, folder=folder)
    again = Tracker.resume(whole, folder=folder)
    server.kill()
    monkeypatch.setattr(delivery, "_FINISH_SECONDS", 0.0)
    assert not again.finish("KILLED")
    assert "lacks a part of this run" in caplog.text
    assert password not in caplog.text
    server.start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(whole.uri))
    assert Tracker.resume(stored, folder=folder).finish("FINISHED")
    assert Store.open(whole).client.get_run(tracker.run_id).info.status == "FINISHED"
