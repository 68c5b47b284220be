"""Small sweeps to disturb, and what they must come to all the same: what one that nothing disturbed came to."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import psutil
from mlflow import MlflowClient
from support import TINY, command

from vae_experiments.sweeps.progress import read_progress
from vae_experiments.training.checkpoints import digest, load_checkpoint

T = TypeVar("T")

LIMIT = 400.0  # seconds that anything may take
EPOCHS = 8
WORDS = [
    *TINY,
    "hooks.gallery=null",  # seconds of drawing a job; what there is at each epoch's end is drawn
    "hooks.models=null",
    "hooks.checkpoint.every_seconds=0",  # one after every step
    "sweep.estimate=false",
    "sweep.jobs=2",
    f"trainer.max_epochs={EPOCHS}",
]


class Trial:
    """A sweep in a working directory of its own, and its commands, one at a time.

    Args:
        work: the directory, which is made.
        jobs: how many.
        words: further overrides.
    """

    def __init__(self, work: Path, jobs: int, *words: str) -> None:
        self.work = work
        self.jobs = jobs
        self.words = ["train", "-m", *WORDS, f"seed=range({jobs})", "name=trial", *words]
        self.log = work / "said.txt"
        self.moved: Path | None = None
        work.mkdir(parents=True)

    @property
    def folder(self) -> Path | None:
        """The sweep's; None before its plan is written."""
        plans = [self.moved / "plan.json"] if self.moved else list((self.work / "multirun").glob("*/plan.json"))
        assert len(plans) <= 1, f"several sweeps: {plans}"
        return plans[0].parent if plans else None

    @property
    def sweep(self) -> Path:
        assert self.folder is not None, "no plan was written"
        return self.folder

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        """`vae train -m` if nothing is planned yet, else `vae resume`; what it says goes to `log`."""
        if self.folder is None:
            arguments = [*self.words, *words]
        else:
            arguments = ["resume", *([str(self.moved)] if self.moved else []), *words]
        own = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "VAE_"))}
        environment = own | {
            "OMP_NUM_THREADS": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "XDG_CACHE_HOME": str(self.work / "cache"),
        }
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command(*arguments),
                cwd=self.work, stdout=log, stderr=log, env=environment, start_new_session=True,
            )  # fmt: skip
        _begun.append(process)
        return process

    def run(self, *words: str, status: int = 0) -> str:
        """The same to its end, which must be this; what it said."""
        start = self.log.stat().st_size if self.log.exists() else 0
        process = self.begin(*words)
        ended = process.wait(LIMIT)
        said = self.log.read_bytes()[start:].decode(errors="replace")
        assert ended == status, f"status {ended} instead of {status}:\n{said}"
        return said

    def epochs(self, since: float = 0.0) -> list[int]:
        """Each job's finished epochs; of a job whose progress was not written since then, 0."""
        return [self._epochs(n, since) for n in range(self.jobs)]

    def _epochs(self, number: int, since: float) -> int:
        if self.folder is None:
            return 0
        path = self.folder / str(number)
        try:
            progress = read_progress(path) if (path / "progress.json").stat().st_mtime >= since else None
        except OSError:
            return 0
        return progress.epoch if progress else 0

    def trains(self, since: float) -> bool:
        """Whether a job has come to training since then."""
        progress = [] if self.folder is None else list(self.folder.glob("*/progress.json"))
        return any(path.stat().st_mtime >= since for path in progress)

    def statuses(self) -> list[str]:
        """Each job's, as its run.json has it; "" before there is one."""
        return [_status(self.sweep / str(n)) if self.folder else "" for n in range(self.jobs)]

    def drafts(self, since: float) -> list[str]:
        """Files begun since then that are being written, or were when their writer died."""
        files = [] if self.folder is None else list(self.folder.rglob("*"))
        drafts = [f for f in files if f.name.endswith(".part") or f.name == "new.ckpt" or f.name.startswith(".linking")]
        return sorted(str(path.relative_to(self.sweep)) for path in drafts if path.stat().st_mtime >= since)


def _status(folder: Path) -> str:
    try:
        return str(json.loads((folder / "run.json").read_text())["status"])
    except (OSError, ValueError):
        return ""


def wait_for(found: Callable[[], T], process: subprocess.Popen[bytes] | None = None, seconds: float = LIMIT) -> T:
    """The first true value; fails when there is none in time, or when `process` has ended before."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := found():
            return value
        assert process is None or process.poll() is None, f"the command ended before it came to that: {process.args!r}"
        time.sleep(0.005)
    raise AssertionError("it did not happen in time")


def kill_everything(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL for a command, the server its jobs come from, and every job, all at once."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    wait_for(lambda: not members(process), seconds=30)


_begun: list[subprocess.Popen[bytes]] = []


def kill_what_is_left() -> None:
    """Ends every command that still runs, as after a failure."""
    for process in _begun:
        if process.poll() is None:
            kill_everything(process)


def members(process: subprocess.Popen[bytes]) -> list[int]:
    """Living processes of the session that a command was started in."""
    found = []
    for each in psutil.process_iter(["status"]):
        try:
            if each.info["status"] != psutil.STATUS_ZOMBIE and os.getsid(each.pid) == process.pid:
                found.append(each.pid)
        except ProcessLookupError:
            continue
    return found


def assert_same(trial: Trial, expected: Trial) -> None:
    """Metrics, checkpoints and everything that they hold, but for times, are the same bits, and whole."""
    assert _status(trial.sweep) == "FINISHED"
    assert trial.statuses() == ["FINISHED"] * trial.jobs
    for n in range(trial.jobs):
        for name in ("last.ckpt", "best.ckpt"):
            mine, theirs = (_content(each.sweep / str(n), name) for each in (trial, expected))
            assert mine["state"]["history"] == theirs["state"]["history"], f"job {n}: {name}: other metrics"
            assert digest(mine) == digest(theirs), f"job {n}: {name}: another digest"


def _content(folder: Path, name: str) -> dict[str, Any]:
    content = load_checkpoint(folder / "checkpoints" / name)
    state = content["state"]
    state["seconds"] = 0.0
    state["history"] = [{k: v for k, v in row.items() if not k.startswith("time/")} for row in state["history"]]
    return content


def assert_recorded(trial: Trial) -> None:
    """MLflow has one parent, a finished child for each job, and of each the metrics of every epoch once."""
    client = MlflowClient(f"sqlite:///{trial.work}/mlflow.db")
    experiments = [each.experiment_id for each in client.search_experiments()]
    runs = client.search_runs(experiments, max_results=1000)
    (parent,) = [run for run in runs if run.data.tags["vae.kind"] == "sweep"]
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(children) == trial.jobs, f"{len(children)} children of {trial.jobs} jobs"
    assert len(runs) == 1 + trial.jobs, "runs that belong to no sweep"
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert parent.data.tags["vae.folder"] == str(trial.sweep)
    assert {run.data.tags["vae.folder"] for run in children} == {str(trial.sweep / str(n)) for n in range(trial.jobs)}
    assert len({run.info.run_name for run in children}) == trial.jobs
    attached = {each.path for each in client.list_artifacts(parent.info.run_id, "comparison")}
    assert {"comparison/table.md", "comparison/table.csv"} <= attached
    for run in children:
        _assert_metrics(client, run.info.run_id, Path(run.data.tags["vae.folder"]))


ONCE = "best/active_units"  # measured when the training has ended; again, if the run was killed after that


def _assert_metrics(client: MlflowClient, run_id: str, folder: Path) -> None:
    history = load_checkpoint(folder / "checkpoints" / "last.ckpt")["state"]["history"]
    names = set(client.get_run(run_id).data.metrics)
    names.remove(ONCE)
    assert len(client.get_metric_history(run_id, ONCE)) >= 1
    assert {name for row in history for name in row} == names
    for name in sorted(names):
        recorded = sorted((each.step, each.value) for each in client.get_metric_history(run_id, name))
        expected = [(i, row[name]) for i, row in enumerate(history, start=1) if name in row]
        if name.startswith("time/"):  # an epoch that was trained twice was timed twice
            recorded, expected = ([(step, 0.0) for step, _ in values] for values in (recorded, expected))
        assert recorded == expected, f"{folder.name}: {name}: {recorded} instead of {expected}"
    kept = {each.path for each in client.list_artifacts(run_id, "checkpoints")}
    assert kept == {"checkpoints/last.ckpt", "checkpoints/best.ckpt"}
