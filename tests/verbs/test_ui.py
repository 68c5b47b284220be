import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from vae_experiments.errors import InputError
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.tracking.names import KIND_TAG
from vae_experiments.tracking.store import Store
from vae_experiments.tracking.views import read_tag
from vae_experiments.verbs.ui import UiConfig, opening_page, ui

SERVE = """
import sys
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.verbs.ui import UiConfig, ui
ui(UiConfig(port=int(sys.argv[1]), tracking=TrackingConfig(uri="sqlite:///runs.db", experiment="mine")))
"""


def serve(folder: Path, port: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SERVE, str(port)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_pages_at_once_on_two_ports_both_stopped_by_ctrl_c(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ports = []
    servers = []
    for _ in range(2):
        server = serve(tmp_path, port)
        servers.append(server)
        assert server.stdout is not None
        link = server.stdout.readline().strip()
        match = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/#/experiments/\d+\?workflowType=machine_learning", link)
        assert match is not None, link + server.communicate()[1]
        ports.append(int(match[1]))
    assert ports[0] == port
    assert ports[1] > port
    for number in ports:
        assert requests.get(f"http://127.0.0.1:{number}/health", timeout=10).text == "OK"
        page = requests.get(f"http://127.0.0.1:{number}/", timeout=10)
        assert "<html" in page.text
        found = requests.get(f"http://127.0.0.1:{number}/api/2.0/mlflow/experiments/search?max_results=9", timeout=10)
        assert "mine" in [each["name"] for each in found.json()["experiments"]]
    for server in servers:
        server.send_signal(signal.SIGINT)
    for server in servers:
        assert server.wait(30) == 0
    for number in ports:
        with pytest.raises(requests.ConnectionError):
            requests.get(f"http://127.0.0.1:{number}/health", timeout=10)
    assert {"runs.db"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("ended", "step"),
    [
        ([("FINISHED", 5), ("FINISHED", 5)], 5),
        ([("FINISHED", 5), ("FINISHED", 3)], 2),  # 1, 2, 4 and 5; 1, 2 and 3
        ([("FINISHED", 4), ("FINISHED", 5)], 4),
        ([("KILLED", 5), ("RUNNING", 7), ("RUNNING", 0)], 4),  # the last one's image comes when a run ends
        ([("FAILED", 0)], None),
    ],
)
def test_the_manifolds_that_are_shown_are_of_the_last_epoch_that_every_run_has_an_image_of(
    ended: list[tuple[str, int]], step: int | None
) -> None:
    store = Store.open(TrackingConfig())
    experiment = store.experiment_id()
    for number, (status, epochs) in enumerate(ended):
        run = store.create_run(experiment, str(number), {KIND_TAG: "run"})
        store.client.log_param(run, "trainer.max_epochs", 20)
        for epoch in range(1, epochs + 1):
            store.client.log_metric(run, "train/loss", 1.0, step=epoch)
        store.client.log_metric(run, "test/elbo", -1.0, step=9)
        store.client.set_terminated(run, status)
    opening_page(store)
    (state,) = [value for name, value in store.client.get_experiment(experiment).tags.items() if "sharedView" in name]
    charts = [each for each in read_tag(state)["compareRunCharts"] if each["type"] == "IMAGE"]
    assert [each["step"] for each in charts] == ([] if step is None else [step])


@pytest.mark.parametrize(
    ("host", "said"), [("no.such.host.invalid", "no such address"), ("192.0.2.1", "not an address")]
)
def test_an_address_that_cannot_be_served_is_said(
    host: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=said):
        ui(UiConfig(host=host, tracking=TrackingConfig(uri=f"sqlite:///{tmp_path}/mlflow.db")))
