"""Threads that keep their cores: settled before PyTorch is loaded, and said where it is too late for that."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support import BARE, run_process, weights

from vae_experiments.training.checkpoints import digest
from vae_experiments.training.config import TrainerConfig
from vae_experiments.training.hardware import choose, make_repeatable
from vae_experiments.training.placement import SETTINGS, keep_cores, keeps_cores

PROGRAM = """
import os, sys
from vae_experiments.cli import main
status = main(["train", *sys.argv[1:]])
print(status, os.environ["OMP_WAIT_POLICY"], len(os.sched_getaffinity(0)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="tells what a thread is bound to")
def test_a_run_that_has_the_machine_binds_its_threads_and_computes_the_same() -> None:
    words = [*BARE, "trainer.exclusive=true", "hydra.run.dir=exclusive"]
    done = subprocess.run([sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 ACTIVE 1"
    assert "no effect" not in done.stderr
    assert run_process("train", *BARE, "hydra.run.dir=plain").status == 0
    assert digest(weights(Path("exclusive"))) == digest(weights(Path("plain")))


def test_what_the_environment_says_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.setenv("OMP_PROC_BIND", "")  # put back afterwards, whatever is set meanwhile
    monkeypatch.delenv("OMP_PROC_BIND")
    keep_cores()
    assert not keeps_cores()


def test_one_of_several_processes_binds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    keep_cores()
    assert not keeps_cores()


@pytest.mark.parametrize("in_time", [True, False])
def test_that_it_comes_too_late_is_said(
    in_time: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value if in_time else "")
    config = TrainerConfig(exclusive=True, device="cpu")
    make_repeatable(config, choose(config))
    assert ("trainer.exclusive=true has no effect on a sweep's jobs" in caplog.text) is not in_time
    torch.set_deterministic_debug_mode("default")
