import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests
from support import command, run_process

from vae_experiments.errors import InputError
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.tracking.names import KIND_TAG
from vae_experiments.tracking.store import Store
from vae_experiments.tracking.views import read_tag
from vae_experiments.verbs.ui import UiConfig, opening_page, ui


@contextmanager
def serving(folder: Path, *words: str) -> Iterator[tuple[str, str, subprocess.Popen[str]]]:
    """`vae ui` in a working directory: the server's address, the page, and the process."""
    process = subprocess.Popen(
        command("ui", "tracking.experiment=mine", *words), cwd=folder, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        link = process.stdout.readline().strip()
        base, _, page = link.partition("/#")
        assert page, process.communicate()[1]
        yield base, page, process
    finally:
        process.kill()


def stopped(process: subprocess.Popen[str]) -> int:
    """How it ends when it gets Ctrl-C."""
    process.send_signal(signal.SIGINT)
    return process.wait(30)


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_pages_of_two_stores_on_two_ports_both_stopped_by_ctrl_c(tmp_path: Path, port: int) -> None:
    folders = tmp_path / "one", tmp_path / "two"
    bases = []
    with ExitStack() as stack:
        servers = []
        for folder in folders:
            folder.mkdir()
            base, page, process = stack.enter_context(serving(folder, f"port={port}"))
            assert re.fullmatch(r"/experiments/\d+\?workflowType=machine_learning", page)
            bases.append(base)
            servers.append(process)
        ports = [int(base.removeprefix("http://127.0.0.1:")) for base in bases]
        assert port == ports[0] < ports[1]
        for base in bases:
            assert requests.get(f"{base}/health", timeout=10).text == "OK"
            assert "<html" in requests.get(base, timeout=10).text
            found = requests.get(f"{base}/api/2.0/mlflow/experiments/search?max_results=9", timeout=10)
            assert "mine" in [each["name"] for each in found.json()["experiments"]]
        assert [stopped(process) for process in servers] == [0, 0]
    for base in bases:
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{base}/health", timeout=10)
    assert all((folder / "mlflow.db").is_file() for folder in folders)


def test_a_store_that_is_open_already_is_not_served_twice(tmp_path: Path, port: int) -> None:
    with serving(tmp_path, f"port={port}") as (base, _, first):
        note = tmp_path / "mlflow.db.ui"
        with serving(tmp_path) as (again, _, second):
            assert again == base
            _, said = second.communicate(timeout=60)
            assert (second.returncode, "open on it already" in said) == (0, True)
        assert note.read_text() == base
        with serving(tmp_path, f"port={port}", "host=0.0.0.0") as (
            wide,
            _,
            third,
        ):  # to be seen by others is another thing
            assert wide != base
            assert stopped(third) == 0
        assert note.read_text() == base
        assert stopped(first) == 0
    assert not note.exists()


def test_in_an_empty_folder_it_opens_and_says_what_makes_a_run(tmp_path: Path, port: int) -> None:
    with serving(tmp_path, f"port={port}") as (_, page, process):
        assert page.startswith("/experiments/")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    (line,) = [line for line in said.splitlines() if "no runs" in line]
    assert f"the experiment mine in sqlite:///{tmp_path}/mlflow.db yet: vae train makes one" in line


@pytest.mark.parametrize("name", ["tracking.uri", "MLFLOW_TRACKING_URI"])
def test_a_database_that_is_named_and_is_not_there_is_refused_and_nothing_is_made(name: str) -> None:
    uri = "sqlite:///nope/there.db"
    ended = run_process("ui", f"{name}={uri}") if "." in name else run_process("ui", MLFLOW_TRACKING_URI=uri)
    assert ended.status == 2
    (line,) = ended.err.splitlines()
    assert f"{name}={uri}: no runs there yet" in line
    assert list(Path.cwd().iterdir()) == []


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
def test_an_address_that_cannot_be_served_is_said(host: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        ui(UiConfig(host=host))
