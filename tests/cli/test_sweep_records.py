"""What a sweep writes down, and what it must not."""

import base64
import csv
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from mlflow import MlflowClient
from support import BARE, TINY, Ended, Vae, results, status_of
from sweeping import QUICK, begin, epochs, job_process, wait_for

from vae_experiments.training.checkpoints import load_checkpoint

SECRET = "s3cret-word"
SWEEP = Path("multirun") / "s"
AT = f"hydra.sweep.dir={SWEEP}"
SEARCH = ("hydra/sweeper=optuna", "hydra.sweeper.n_trials=1", "optimizer.lr=interval(1e-3,2e-3)")
EPOCHS = 30


def told(folder: Path) -> list[str]:
    """The files below a folder that hold the password, plain or as a header of HTTP has it."""
    words = (SECRET.encode(), base64.b64encode(f"me:{SECRET}".encode()))
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [str(path) for path in files if any(word in path.read_bytes() for word in words)]


@pytest.fixture
def free_port() -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        yield probe.getsockname()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """The port of an MLflow server, and the folder of everything that it keeps."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    stores = ["--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination", f"{folder}/artifacts"]
    where = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *stores, *where], cwd=folder, stdout=log, stderr=log,
            env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        )  # fmt: skip

    def answers() -> bool:
        assert process.poll() is None, (folder / "server.log").read_text()
        try:
            return requests.get(f"http://127.0.0.1:{port}/health", timeout=5).ok
        except requests.RequestException:
            return False

    try:
        wait_for(answers)
        yield port, folder
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize("words", [("seed=1,2",), SEARCH], ids=["grid", "search"])
def test_a_server_that_does_not_answer_leaves_its_password_nowhere(
    vae: Vae, words: tuple[str, ...], free_port: int
) -> None:
    address = f"tracking.uri=http://me:{SECRET}@127.0.0.1:{free_port}"
    ended = vae("train", "-m", *TINY, QUICK, AT, *words, address)
    assert ended.status == 2
    (line,) = [line for line in ended.err.splitlines() if line.startswith("vae: ")]
    assert f"127.0.0.1:{free_port}: no server answers there" in line
    assert SECRET not in ended.out + ended.err
    assert told(Path.cwd()) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [(("optimizer.lr=1e-3,1e30",), {"lr=0.001": "FINISHED", "lr=1e+30": "FAILED"}), (SEARCH, None)],
    ids=["grid", "search"],
)
def test_a_server_s_password_is_used_and_not_kept(
    vae: Vae, words: tuple[str, ...], expected: dict[str, str] | None, server: tuple[int, Path]
) -> None:
    port, store = server
    client = MlflowClient(f"http://127.0.0.1:{port}")
    experiment = "grid" if expected else "search"
    mine = (f"tracking.uri=http://me:{SECRET}@127.0.0.1:{port}", f"tracking.experiment={experiment}")
    light = ("hooks.gallery=null", "hooks.models=null", "trainer.max_epochs=1")
    ended = [vae("train", "-m", *TINY, QUICK, AT, *light, *words, *mine)]
    if expected:  # a traceback is among what is kept
        ended.append(vae("resume", str(SWEEP), *mine))
    assert {each.status for each in ended} == {int(bool(expected))}, ended
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    runs = client.search_runs([found.experiment_id])
    (parent,) = [run for run in runs if run.data.tags["vae.kind"] == "sweep"]
    jobs = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(jobs) == len(runs) - 1
    if expected:
        assert {run.info.run_name: run.info.status for run in jobs} == expected
    else:
        assert [run.info.status for run in jobs] == ["FINISHED"]
    assert "tracking.uri=http://***@" in parent.data.params["command"]
    assert not any(SECRET in each.out + each.err for each in ended)
    assert told(Path.cwd()) == []
    assert told(store) == []


@pytest.mark.parametrize("sweeper", [(), ("hydra/sweeper=optuna",)], ids=["grid", "search"])
@pytest.mark.parametrize("word", ["tracking.uri=sqlite:///a.db,sqlite:///b.db", "tracking.experiment=a,b"])
def test_where_a_sweep_is_recorded_does_not_vary(vae: Vae, sweeper: tuple[str, ...], word: str) -> None:
    refused(vae("train", "-m", *TINY, QUICK, *sweeper, "seed=1,2", word), word)


@pytest.mark.parametrize("names", ["latent_sweep,kl_sweep", "smoke,kl_sweep", "kl_sweep,smoke"])
def test_an_experiment_that_brings_its_own_sweep_stands_alone(vae: Vae, names: str) -> None:
    words = [word for word in TINY if not word.startswith("experiment=")]
    ended = vae("train", "-m", f"experiment={names}", "dataset=mnist5k", *words, QUICK, "plan=true")
    refused(ended, "experiment=", "_sweep")


def refused(ended: Ended, *words: str) -> None:
    """In one line that holds the words; nothing was made."""
    assert ended.status == 2, ended.err
    (line,) = ended.err.splitlines()
    assert all(word in line for word in words), line
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize("threads", ["1,4", "4,1"])
def test_the_job_with_the_most_threads_counts(vae: Vae, threads: str) -> None:
    words = [word for word in TINY if not word.startswith("trainer.threads=")]
    ended = vae("train", "-m", *words, QUICK, "plan=true", f"trainer.threads={threads}")
    assert ended.status == 0, ended.err
    (line,) = [line for line in ended.err.splitlines() if " at once (" in line]
    assert line.removesuffix(" each").endswith("), 4 threads")


@pytest.fixture(scope="module")
def failed_at_work(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ended, Path]:
    """Two jobs at once, of which one is killed, and one failure ends the sweep; its working directory."""
    work = tmp_path_factory.mktemp("failed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(work)
        words = (f"trainer.max_epochs={EPOCHS}", "seed=0,1", "sweep.jobs=2", "sweep.on_failure=stop")
        process = begin(*BARE, QUICK, AT, *words)
        wait_for(lambda: epochs(SWEEP / "0") >= 2 and epochs(SWEEP / "1") >= 2)
        victim = job_process(SWEEP / "1")
        assert victim is not None
        victim.send_signal(signal.SIGKILL)
        _, said = process.communicate(timeout=120)
    return Ended(process.returncode, "", said), work


@pytest.fixture
def stopped(failed_at_work: tuple[Ended, Path]) -> Ended:
    """A copy of that sweep, to go on with; what it said."""
    ended, work = failed_at_work
    shutil.copytree(work / SWEEP, SWEEP)
    return ended


def compared() -> dict[str, dict[str, str]]:
    """The rows of the sweep's table, by name."""
    rows = list(csv.DictReader((SWEEP / "comparison" / "table.csv").read_text().splitlines()))
    assert len({row["name"] for row in rows}) == len(rows) == 2
    return {row["name"]: row for row in rows}


def assert_the_table_is_true() -> None:
    for number in (0, 1):
        history, row = results(SWEEP / str(number)), compared()[f"seed={number}"]
        best = max(range(EPOCHS), key=lambda epoch: history[epoch]["val/elbo"])
        assert (len(history), row["status"], int(row["best/epoch"])) == (EPOCHS, "FINISHED", best + 1)
        for metric in ("val/elbo", "val/reconstruction", "val/kl"):
            assert float(row[f"best/{metric.replace('/', '_')}"]) == history[best][metric]


def test_a_failure_that_stops_a_sweep_lets_the_others_save(vae: Vae, stopped: Ended) -> None:
    assert stopped.status == 1, stopped.err
    assert "job 1 failed" in stopped.err
    assert "1 of 2 jobs failed" in stopped.err
    assert (status_of(SWEEP), status_of(SWEEP / "0"), status_of(SWEEP / "1")) == ("FAILED", "KILLED", "FAILED")
    saved = load_checkpoint(SWEEP / "0" / "checkpoints" / "last.ckpt")["state"]
    assert 2 <= len(saved["history"]) < EPOCHS

    resumed = vae("resume", str(SWEEP))
    assert resumed.status == 0, resumed.err
    assert (status_of(SWEEP), status_of(SWEEP / "0"), status_of(SWEEP / "1")) == ("FINISHED",) * 3
    assert_the_table_is_true()


def test_a_job_resumed_alone_is_compared_by_what_it_reached_then(vae: Vae, stopped: Ended) -> None:
    early = results(SWEEP / "0")[-1]["best/epoch"]
    alone = vae("resume", str(SWEEP / "0"))
    assert alone.status == 0, alone.err
    assert results(SWEEP / "0")[-1]["best/epoch"] > early  # or the table could not be out of date
    assert (status_of(SWEEP / "0"), status_of(SWEEP / "1")) == ("FINISHED", "FAILED")
    resumed = vae("resume", str(SWEEP))
    assert resumed.status == 0, resumed.err
    assert "1 of 2 jobs to run" in resumed.err
    assert_the_table_is_true()
