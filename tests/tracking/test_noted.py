"""The note that vae ui leaves beside a database, and who is believed."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from mlflow import MlflowClient

from vae_experiments.runs.closing import closing_lines
from vae_experiments.tracking.journal import Journal
from vae_experiments.tracking.noted import noted, shown_at

SERVE = """
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.verbs.ui import UiConfig, ui
ui(UiConfig(port=5300, tracking=TrackingConfig(experiment="mine")))
"""


def test_while_vae_ui_runs_a_command_ends_with_the_link_and_afterwards_without() -> None:
    uri = f"sqlite:///{Path.cwd()}/mlflow.db"
    with subprocess.Popen([sys.executable, "-c", SERVE], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        link = server.stdout.readline()
        run = MlflowClient(uri).create_run("0").info.run_id
        folder = Path.cwd() / "r"
        folder.mkdir()
        (folder / "config.yaml").write_text("tracking: {experiment: mine}")
        Journal(folder).append("start", 0, run_id=run, experiment_id="0", uri=uri, configured=None)
        base = link.partition("/#/")[0]
        assert any(
            line.startswith(f"MLflow    {base}/#/experiments/0/runs/{run}") for line in closing_lines(folder, [])
        )
        assert shown_at(uri, "of another store") is None
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0
    assert "MLflow    vae ui tracking.experiment=mine" in closing_lines(folder, [])
    assert not Path("mlflow.db.ui").exists()


@pytest.fixture(params=[b"", b"<html>", b"[]", b'{"run": {"info": {"run_id": "b"}}}'])
def other(request: pytest.FixtureRequest) -> Iterator[str]:
    """Another program on the port."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(request.param)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_another_program_on_the_port_is_not_believed(other: str) -> None:
    uri = f"sqlite:///{Path.cwd()}/runs.db"
    with noted(uri, other):
        assert Path("runs.db.ui").read_text() == other
        assert shown_at(uri, "a") is None


@pytest.mark.parametrize("said", ["http://127.0.0.1:9", "http://127.0.0.1:nine", "file:///etc/passwd", "", "\x00"])
def test_a_note_that_leads_nowhere_is_not_believed(said: str) -> None:
    Path("runs.db.ui").write_text(said)
    assert shown_at(f"sqlite:///{Path.cwd()}/runs.db", "a") is None


def test_the_later_of_two_servers_has_the_note() -> None:
    uri = f"sqlite:///{Path.cwd()}/runs.db"
    with noted(uri, "http://127.0.0.1:1"), noted(uri, "http://127.0.0.1:2"):
        pass
    assert not Path("runs.db.ui").exists()
    with noted(uri, "http://127.0.0.1:1"):
        Path("runs.db.ui").write_text("http://127.0.0.1:2")
    assert Path("runs.db.ui").exists()


def test_a_server_s_database_has_no_place_for_it() -> None:
    with noted("postgresql://host/db", "http://127.0.0.1:1"):
        assert list(Path.cwd().iterdir()) == []
    assert shown_at("postgresql://host/db", "a") is None
