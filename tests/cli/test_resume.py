"""A run that was killed, at any step, ends in the same bits as one that was not."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient
from support import (
    BARE,
    TINY,
    Vae,
    command,
    continued,
    needs_bfloat16,
    only_folder,
    results,
    run_process,
    status_of,
    weights,
)

from vae_experiments.kernels import compiled
from vae_experiments.tracking.journal import read_start
from vae_experiments.training.checkpoints import digest

STOP_AT = '''
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from vae_experiments.training.hooks import Checkpoint
from vae_experiments.training.run import Hook


def kill_once():
    if not Path("stopped").exists():
        Path("stopped").touch()
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(kw_only=True)
class KilledAfterSaving(Checkpoint):
    """Dies between the checkpoint of an epoch and the record of its metrics."""

    def on_epoch_end(self, run):
        super().on_epoch_end(run)
        kill_once()


@dataclass(kw_only=True)
class KilledAtTheEnd(Hook):
    """Dies when training is over and the pictures are not yet drawn."""

    def on_end(self, run):
        kill_once()


@dataclass(kw_only=True)
class KilledAfterTheLastEpoch(Hook):
    """Dies when the last epoch is saved and nothing is done about the end."""

    def on_epoch_end(self, run):
        if run.done:
            kill_once()


@dataclass(kw_only=True)
class StopAt(Hook):
    """Sends this process a signal, once, after a step."""

    step: int
    signum: int

    def on_step(self, run):
        if run.state.step == self.step and not Path("stopped").exists():
            Path("stopped").touch()
            os.kill(os.getpid(), self.signum)
'''


def stop_at(step: int, signum: int) -> list[str]:
    Path("stopping.py").write_text(STOP_AT)
    keys = f"_target_: stopping.StopAt, step: {step}, signum: {int(signum)}"
    return [f"+hooks.stop={{{keys}}}", "hooks.checkpoint.every_seconds=0"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two epochs of four steps that nothing stopped."""
    work = tmp_path_factory.mktemp("undisturbed")
    ended = subprocess.run(command("train", *BARE), cwd=work, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    (folder,) = (work / "outputs").iterdir()
    return folder


@pytest.mark.parametrize("step", [1, 4, 6])
def test_killed_and_resumed_is_as_if_never_killed(undisturbed: Path, step: int) -> None:
    killed = run_process("train", *BARE, *stop_at(step, signal.SIGKILL))
    assert killed.status == -signal.SIGKILL
    resumed = run_process("resume", "trust=[stopping]")
    assert resumed.status == 0, resumed.err
    folder = only_folder()
    assert status_of(folder) == "FINISHED"
    assert digest(weights(folder)) == digest(weights(undisturbed))
    assert digest(weights(folder, "best.ckpt")) == digest(weights(undisturbed, "best.ckpt"))
    assert results(folder) == results(undisturbed)


def test_mlflow_has_every_epoch_once_after_a_kill(undisturbed: Path) -> None:
    run_process("train", *TINY, "hooks.gallery=null", *stop_at(6, signal.SIGKILL))
    resumed = run_process("resume", "trust=[stopping]")
    assert resumed.status == 0, resumed.err
    client = MlflowClient(f"sqlite:///{Path.cwd()}/mlflow.db")
    (run,) = client.search_runs(["1"])
    assert run.info.status == "FINISHED"
    for name in ("train/loss", "val/elbo", "time/epoch_seconds", "best/val_elbo"):
        assert [m.step for m in client.get_metric_history(run.info.run_id, name)] == [1, 2]
    expected = results(undisturbed)
    assert [m.value for m in client.get_metric_history(run.info.run_id, "val/elbo")] == [
        r["val/elbo"] for r in expected
    ]


@pytest.mark.parametrize(
    "moment", ["hooks.checkpoint._target_=stopping.KilledAfterSaving", "+hooks.die={_target_: stopping.KilledAtTheEnd}"]
)
def test_no_epoch_is_lost_between_checkpoint_record_and_end(undisturbed: Path, moment: str) -> None:
    Path("stopping.py").write_text(STOP_AT)
    reference = "+hooks.reference={_target_: vae_experiments.training.reference_curve.ReferenceCurve, name: seed,"
    reference += " train: [0.3, 0.2], val: [0.3, 0.2]}"
    killed = run_process("train", *TINY, "hooks.gallery=null", "hooks.models=null", reference, moment)
    assert killed.status == -signal.SIGKILL
    resumed = run_process("resume", "trust=[stopping]")
    assert resumed.status == 0, resumed.err
    assert digest(weights(only_folder())) == digest(weights(undisturbed))
    client = MlflowClient(f"sqlite:///{Path.cwd()}/mlflow.db")
    (run,) = client.search_runs(["1"])
    assert run.info.status == "FINISHED"
    for name in ("val/elbo", "seed/val_loss"):
        assert [m.step for m in client.get_metric_history(run.info.run_id, name)] == [1, 2]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_checkpoint_and_an_honest_status(undisturbed: Path, signum: signal.Signals) -> None:
    stopped = run_process("train", *BARE, *stop_at(3, signum), "hooks.checkpoint.every_seconds=3600")
    folder = only_folder()
    assert stopped.status == 128 + signum
    assert status_of(folder) == "KILLED"
    resumed = run_process(*continued(stopped.err))
    assert "continuing after epoch 0, step 3" in resumed.err
    assert digest(weights(folder)) == digest(weights(undisturbed))


def test_a_run_that_is_stopped_says_where_it_is_and_what_shows_it() -> None:
    words = ["hooks.gallery=null", "tracking.experiment=mine", *stop_at(3, signal.SIGINT)]
    stopped = run_process("train", *TINY, *words, "hydra.run.dir=here")
    said = stopped.err.splitlines()
    (stop,) = [number for number, line in enumerate(said) if "continue with: " in line]
    assert said[stop + 1 :] == ["results   here", "MLflow    vae ui tracking.experiment=mine"]


def manifolds(folder: Path) -> dict[int, bytes]:
    """The pictures that MLflow has of the run in this folder, by epoch."""
    client = MlflowClient(f"sqlite:///{Path.cwd()}/mlflow.db")
    run = str(read_start(folder).data["run_id"])
    paths = [each.path for each in client.list_artifacts(run, "images") if each.path.endswith(".png")]
    return {int(path.split("+")[2]): Path(client.download_artifacts(run, path)).read_bytes() for path in paths}


def test_mlflow_shows_the_last_epoch_stopped_early_or_killed_and_resumed() -> None:
    Path("stopping.py").write_text(STOP_AT)
    words = [*TINY, "hooks.gallery=null", "hooks.models=null", "trainer.max_epochs=9"]
    words += ["optimizer.lr=1e-30", "hooks.early_stopping.patience=2"]  # no epoch is better than the first
    assert run_process("train", *words, "hydra.run.dir=early").status == 0
    killed = run_process(
        "train", *words, "hydra.run.dir=killed", "+hooks.die={_target_: stopping.KilledAfterTheLastEpoch}"
    )
    assert killed.status == -signal.SIGKILL
    assert run_process("resume", "killed", "trust=[stopping]").status == 0
    assert [len(results(Path(folder))) for folder in ("early", "killed")] == [3, 3]
    assert sorted(manifolds(Path("early"))) == [1, 2, 3]
    assert manifolds(Path("killed")) == manifolds(Path("early"))


def test_two_processes_resume_in_the_middle_of_an_epoch() -> None:
    whole = run_process("train", *BARE, torchrun=2)
    assert whole.status == 0, whole.err
    expected = only_folder()
    run_process("train", *BARE, *stop_at(2, signal.SIGTERM), "hydra.run.dir=halted", torchrun=2)
    assert status_of(Path("halted")) == "KILLED"
    resumed = run_process("resume", "halted", "trust=[stopping]", torchrun=2)
    assert resumed.status == 0, resumed.err
    assert "continuing after epoch 0, step 2" in resumed.err
    assert digest(weights(Path("halted"))) == digest(weights(expected))
    assert results(Path("halted")) == results(expected)


def test_a_truncated_checkpoint_falls_back_to_the_one_before(undisturbed: Path) -> None:
    run_process("train", *BARE, *stop_at(6, signal.SIGKILL))
    last = only_folder() / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:-1000])
    resumed = run_process("resume", "trust=[stopping]")
    assert resumed.status == 0, resumed.err
    assert "falling back to the one before" in resumed.err
    assert digest(weights(only_folder())) == digest(weights(undisturbed))


def test_killed_before_its_first_checkpoint_starts_again(undisturbed: Path) -> None:
    run_process("train", *BARE, *stop_at(2, signal.SIGKILL), "hooks.checkpoint.every_seconds=3600")
    resumed = run_process("resume", "trust=[stopping]")
    assert "starting from the first step" in resumed.err
    assert digest(weights(only_folder())) == digest(weights(undisturbed))


def test_a_finished_run_is_left_as_it_is(vae: Vae, undisturbed: Path) -> None:
    shutil.copytree(undisturbed, "done")
    before = {path: path.stat().st_mtime_ns for path in Path("done").rglob("*.ckpt")}
    assert vae("resume", "done").status == 0
    assert {path: path.stat().st_mtime_ns for path in Path("done").rglob("*.ckpt")} == before


def test_changed_config_is_refused_unless_forced(vae: Vae, undisturbed: Path) -> None:
    shutil.copytree(undisturbed, "changed")
    for name, old, new in (
        ("run.json", "FINISHED", "KILLED"),
        ("config.yaml", "patience: null", "patience: 5"),
    ):
        path = Path("changed") / name
        path.write_text(path.read_text().replace(old, new))
    refused = vae("resume", "changed")
    assert refused.status == 2
    assert "force=true" in refused.err
    assert status_of(Path("changed")) == "KILLED"
    assert vae("resume", "changed", "force=true").status == 0
    assert status_of(Path("changed")) == "FINISHED"


@needs_bfloat16
def test_other_kernels_are_refused_unless_forced(tmp_path: Path) -> None:
    killed = run_process("train", *BARE, *stop_at(6, signal.SIGKILL))
    assert "layers compiled for it" in killed.err
    elsewhere = {"PATH": "/nowhere", "XDG_CACHE_HOME": str(tmp_path)}
    refused = run_process("resume", "trust=[stopping]", **elsewhere)
    assert refused.status == 2
    units = compiled.units(torch.bfloat16)
    assert f"was started on cpu torch.bfloat16, own kernels ({units}), own updates, torch" in refused.err
    assert run_process("resume", "trust=[stopping]", "force=true", **elsewhere).status == 0


def test_two_processes_never_write_one_run(vae: Vae) -> None:
    with subprocess.Popen(command("train", *BARE, "trainer.max_epochs=10000"), stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 60
            while not list(Path("outputs").glob("*/checkpoints/last.ckpt")):
                assert time.monotonic() < deadline
                time.sleep(0.1)
            second = vae("resume", str(only_folder()))
            assert second.status == 2
            assert "another process" in second.err
        finally:
            process.kill()


def test_nothing_to_resume_is_said(vae: Vae) -> None:
    ended = vae("resume")
    assert ended.status == 2
    assert "no unfinished run" in ended.err


def test_a_stored_config_runs_no_code_of_its_own(vae: Vae, undisturbed: Path) -> None:
    shutil.copytree(undisturbed, "evil")
    Path("evil.py").write_text("import pathlib; pathlib.Path('ran').touch()\nclass Optimizer: pass\n")
    config = Path("evil/config.yaml")
    config.write_text(config.read_text().replace("vae_experiments.training.adam.Adam", "evil_module.Optimizer"))
    Path("evil.py").rename("evil_module.py")
    (Path("evil") / "run.json").write_text((Path("evil") / "run.json").read_text().replace("FINISHED", "KILLED"))
    ended = vae("resume", "evil")
    assert ended.status == 2
    assert "trust=[evil_module]" in ended.err
    assert not Path("ran").exists()


def test_a_full_disk_loses_no_whole_checkpoint(tmp_path: Path) -> None:
    # A limit on the size of files stands in for a disk without room: writes fail part of the way, for real.
    limited = ["bash", "-c", 'ulimit -f 60; trap "" XFSZ; exec "$@"', "-", *command("train", *BARE)]
    ended = subprocess.run(limited, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert ended.returncode == 1, ended.stderr
    assert "cannot write" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert status_of(only_folder()) == "FAILED"
    resumed = run_process("resume")
    assert resumed.status == 0, resumed.err
    assert status_of(only_folder()) == "FINISHED"
