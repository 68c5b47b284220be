"""Jobs of a sweep on a real Slurm cluster, from submission to whatever end they come to."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import hydra
import pytest
from support import BARE, TINY, command, results, run_process, status_of, weights

from vae_experiments.config.hydra_app import to_plain
from vae_experiments.config.paths import conf_dir
from vae_experiments.config.resolvers import register_resolvers
from vae_experiments.errors import InputError
from vae_experiments.runs.folder import RunFolder
from vae_experiments.sweeps.executors.base import Order
from vae_experiments.sweeps.executors.slurm import SlurmExecutor, SlurmHandle
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.tracking.store import Store
from vae_experiments.training.checkpoints import digest

pytestmark = [pytest.mark.usefixtures("cluster"), pytest.mark.timeout(900)]

SLOWLY = '''
import time
from dataclasses import dataclass

from vae_experiments.training.run import Hook


@dataclass(kw_only=True)
class Slowly(Hook):
    """Leaves time to look at a run, and to disturb it."""

    def on_step(self, run):
        time.sleep(0.25)
'''
SLOW = ["+hooks.slow={_target_: slowly.Slowly}", "trainer.max_epochs=10"]
QUICK = [*TINY, "hooks.gallery=null", "hooks.models=null"]


@pytest.fixture(autouse=True)
def _slowly() -> None:
    Path("slowly.py").write_text(SLOWLY)


@pytest.fixture
def order() -> Order:
    """A job of forty slow steps, planned in a sweep's folder."""
    return planned()


def planned(*overrides: str) -> Order:
    register_resolvers()
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        config = to_plain(hydra.compose("train", [*BARE, *SLOW, *overrides]))
    folder = RunFolder(Path("sweep", "0").absolute())
    folder.path.mkdir(parents=True)
    folder.write_config({key: value for key, value in config.items() if key not in ("sweep", "plan")})
    return Order(folder.path, Path.cwd(), {})


def executor(**keys: object) -> SlurmExecutor:
    return SlurmExecutor(Path("sweep").absolute(), 4, **keys)  # type: ignore[arg-type]


def wait_until(ready: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def epochs(folder: Path) -> int:
    try:
        return int(json.loads((folder / "progress.json").read_text())["epoch"])
    except OSError:
        return 0


def end_of(handle: SlurmHandle) -> str:
    wait_until(lambda: handle.ended() is not None)
    return str(handle.ended())


def job_id(folder: Path) -> str:
    (script,) = (folder / "slurm").glob("*_submission.sh")
    return script.name.partition("_")[0]


def slurm(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def pids(job: str) -> list[int]:
    """Of the Python that trains in a Slurm job."""
    listed = slurm("scontrol", "listpids", f"{job}.0").splitlines()[1:]
    return [int(line.split()[0]) for line in listed if "srun" not in Path("/proc", line.split()[0], "comm").read_text()]


def test_stopped_it_saves_leaves_and_goes_on_from_there(order: Order) -> None:
    with executor() as slurm_jobs:
        handle = slurm_jobs.submit(order)
        wait_until(lambda: epochs(order.folder))
        handle.stop()
        assert end_of(handle) == ""
        assert status_of(order.folder) == "KILLED"
        assert end_of(slurm_jobs.submit(order)) == ""
    assert "continuing after epoch" in (order.folder / "run.log").read_text()
    assert status_of(order.folder) == "FINISHED"
    assert len(results(order.folder)) == 10


def test_warned_of_its_time_limit_it_saves_and_leaves_and_is_not_queued_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    order = planned("trainer.max_epochs=100")  # Slurm looks at its jobs' limits every half minute
    with executor() as slurm_jobs:
        handle = slurm_jobs.submit(order)
        wait_until(lambda: epochs(order.folder))
        slurm("scontrol", "update", f"JobId={handle.job_id}", "TimeLimit=2")  # sooner than the warning's two minutes
        assert end_of(handle) == ""
    assert status_of(order.folder) == "KILLED"
    assert "its time limit is near" in caplog.text
    assert "143" in slurm("scontrol", "show", "job", handle.job_id)  # ended, with the status of a run that left
    assert "JobState=FAILED" in slurm("scontrol", "show", "job", handle.job_id)


def test_a_stop_reaches_a_job_whose_python_has_not_started(order: Order) -> None:
    with executor(setup=["touch setting_up", "sleep 8"]) as slurm_jobs:
        handle = slurm_jobs.submit(order)
        wait_until(Path("setting_up").exists)
        handle.stop()
        assert end_of(handle) == ""
    assert not (order.folder / "run.json").exists()


def test_a_job_that_waits_is_taken_from_the_queue(order: Order) -> None:
    with executor(additional={"begin": "now+1hour"}) as slurm_jobs:
        handle = slurm_jobs.submit(order)
        assert handle.ended() is None
        handle.stop()
        assert end_of(handle) == f"Slurm job {handle.job_id}: CANCELLED"


def test_how_a_process_died_is_told(order: Order) -> None:
    with executor() as slurm_jobs:
        handle = slurm_jobs.submit(order)
        wait_until(lambda: epochs(order.folder))
        for pid in pids(handle.job_id):
            os.kill(pid, 9)
        assert "was killed by SIGKILL" in end_of(handle)
    with executor(setup=["exit 3"]) as slurm_jobs:
        handle = slurm_jobs.submit(order)
        assert end_of(handle).startswith(f"Slurm job {handle.job_id} ended with status 3; see {order.folder}/slurm/")


def test_jobs_outlive_the_sweeps_process_and_are_taken_up_again(order: Order) -> None:
    first = executor().submit(order)  # never closed, as by a process that was killed
    with executor() as slurm_jobs:
        again = slurm_jobs.submit(order)
        assert again.job_id == first.job_id
        assert end_of(again) == ""
        assert status_of(order.folder) == "FINISHED"
        assert slurm_jobs.submit(order).job_id != first.job_id


def test_many_jobs_are_watched_with_few_questions(order: Order) -> None:
    with executor(additional={"begin": "now+1hour"}) as slurm_jobs:
        handle = slurm_jobs.submit(order)
        handles = [handle] * 50
        began = time.monotonic()
        for _ in range(100):
            assert all(each.ended() is None for each in handles)
        assert time.monotonic() - began < 2  # 5,000 calls of squeue take minutes


def test_a_cluster_that_will_not_take_a_job_says_why(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    with executor(partition="nowhere") as slurm_jobs, pytest.raises(InputError, match="Invalid partition") as refused:
        slurm_jobs.submit(order)
    assert len(str(refused.value).splitlines()) == 1
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(InputError, match="no sbatch on the PATH"):
        executor()


def test_resources_and_options_arrive(order: Order) -> None:
    keys = {"cpus_per_task": 2, "mem_gb": 0.5, "timeout_min": 30, "additional": {"nice": 7, "begin": "now+1hour"}}
    with executor(**keys) as slurm_jobs:
        handle = slurm_jobs.submit(order)
        shown = slurm("scontrol", "show", "job", handle.job_id)
    for part in ("CPUs/Task=2", "MinMemoryNode=512M", "TimeLimit=00:30:00", "Nice=7", "JobName=sweep/0"):
        assert part in shown
    assert "--cpus-per-task=2" in (order.folder / "slurm" / f"{handle.job_id}_submission.sh").read_text()


def test_a_sweep_that_was_killed_takes_up_the_jobs_that_went_on_without_it() -> None:
    words = ["train", "-m", "hydra/launcher=slurm", "hydra.sweep.dir=sweep", "sweep.estimate=false", *QUICK, *SLOW]
    with subprocess.Popen(command(*words, "trainer.max_epochs=60", "architecture.latent_dim=1,2")) as sweep:
        wait_until(lambda: epochs(Path("sweep/0")) and epochs(Path("sweep/1")))
        sweep.kill()
    resumed = run_process("resume", "sweep", "trust=[slowly]")
    assert resumed.status == 0, resumed.err
    for i in range(2):
        only = job_id(Path("sweep", str(i)))  # there is one: it was not submitted again
        assert f"job {i} goes on as Slurm job {only}" in resumed.err
    runs = Store.open(TrackingConfig()).runs()
    assert [run.status for run in runs] == ["FINISHED"] * 3


def test_a_sweep_whose_one_job_is_cancelled_finishes_the_others_and_resumes_it() -> None:
    undisturbed = run_process("train", *BARE, *SLOW, "architecture.latent_dim=2", "hydra.run.dir=undisturbed")
    assert undisturbed.status == 0, undisturbed.err
    words = ["train", "-m", "hydra/launcher=slurm", "hydra.sweep.dir=sweep", "sweep.estimate=false", *QUICK, *SLOW]
    with subprocess.Popen(
        command(*words, "architecture.latent_dim=1,2,3,4"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as sweep:
        wait_until(lambda: epochs(Path("sweep/1")) >= 3, 240)
        slurm("scancel", job_id(Path("sweep/1")))
        out, _ = sweep.communicate(timeout=240)
    print(out)  # shown by -rP
    assert sweep.returncode == 1, out
    assert "1 of 4 jobs failed" in out
    assert [status_of(Path("sweep", str(i))) for i in range(4)] == ["FINISHED", "KILLED", "FINISHED", "FINISHED"], out
    store = Store.open(TrackingConfig())
    before = {run.name: run.run_id for run in store.runs()}

    resumed = run_process("resume", "sweep", "trust=[slowly]")
    print(resumed.err)
    assert resumed.status == 0, resumed.err
    runs = store.runs()
    assert {run.name: run.run_id for run in runs} == before
    assert len(runs) == 5
    assert {run.status for run in runs} == {"FINISHED"}
    assert weights(Path("sweep/1")).keys() == weights(Path("undisturbed")).keys()
    assert digest(weights(Path("sweep/1"))) == digest(weights(Path("undisturbed")))
    assert results(Path("sweep/1")) == results(Path("undisturbed"))
    (cancelled,) = [run for run in runs if run.name == "latent_dim=2"]
    for name in ("train/loss", "val/elbo"):
        history = store.client.get_metric_history(cancelled.run_id, name)
        assert [metric.step for metric in history] == list(range(1, 11))
