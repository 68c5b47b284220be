"""Jobs as processes of this machine: what each is given, and how the sweep learns of its end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from support import status_of
from sweeping import epochs, job_process, wait_for

from vae_experiments.sweeps.executors.base import Order
from vae_experiments.sweeps.executors.local import LocalExecutor, LocalHandle, visible_devices

Composed = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("environment", "gpus", "expected"),
    [
        ({}, 2, ["0", "1"]),
        ({"CUDA_VISIBLE_DEVICES": "2,3"}, 2, ["2", "3"]),
        ({"CUDA_VISIBLE_DEVICES": " 3 , 1 "}, 2, ["3", "1"]),
        ({"CUDA_VISIBLE_DEVICES": "5"}, 1, ["5"]),
        ({"CUDA_VISIBLE_DEVICES": "GPU-8932f937,MIG-GPU-1a2b"}, 2, ["GPU-8932f937", "MIG-GPU-1a2b"]),
        ({"CUDA_VISIBLE_DEVICES": "2,3,99"}, 2, ["2", "3"]),  # what is not there ends CUDA's list
        ({"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, 1, ["0"]),
    ],
)
def test_devices_that_the_user_chose_are_those_that_are_shared_out(
    environment: Mapping[str, str], gpus: int, expected: list[str]
) -> None:
    before = dict(environment)
    assert visible_devices(environment, gpus) == expected
    assert environment == before


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[LocalExecutor]:
    with LocalExecutor(tmp_path, jobs=2) as executor:
        yield executor


def test_the_server_of_jobs_leaves_cuda_alone_which_they_could_not_use_otherwise() -> None:
    code = """
import torch

asked = []
torch.backends.cuda.is_built = lambda: True
torch.cuda.is_available = lambda: asked.append("available")
torch.cuda._lazy_init = lambda: asked.append("begun")
import vae_experiments.sweeps.executors.preload

print(asked)
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def started(executor: LocalExecutor, folder: Path, config: object) -> LocalHandle:
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return executor.submit(Order(folder, Path.cwd(), dict(os.environ)))


def process_of(folder: Path) -> psutil.Process:
    process = wait_for(lambda: job_process(folder) if epochs(folder) else None)
    assert process is not None
    return process


def words_at_the_end(handle: LocalHandle) -> str:
    wait_for(lambda: handle.ended() is not None)
    words = handle.ended()
    assert words is not None
    return words


def test_a_job_that_ends_by_itself_leaves_nothing_to_say(
    executor: LocalExecutor, tmp_path: Path, composed: Composed
) -> None:
    trained = started(executor, tmp_path / "trained", composed("trainer.max_epochs=1"))
    refused = started(executor, tmp_path / "refused", {"trainer": "nonsense"})
    assert words_at_the_end(trained) == ""
    assert status_of(tmp_path / "trained") == "FINISHED"
    assert words_at_the_end(refused) == ""
    assert status_of(tmp_path / "refused") == "FAILED"


def test_a_job_that_is_killed_is_said_to_be_and_one_that_is_stopped_is_not(
    executor: LocalExecutor, tmp_path: Path, composed: Composed
) -> None:
    config = composed("trainer.max_epochs=100_000")
    stopped = started(executor, tmp_path / "stopped", config)
    killed = started(executor, tmp_path / "killed", config)
    process_of(tmp_path / "killed").send_signal(signal.SIGKILL)
    assert words_at_the_end(killed) == "its process was killed by SIGKILL, as a system that is out of memory does"
    assert stopped.ended() is None
    process_of(tmp_path / "stopped")
    stopped.stop()
    assert words_at_the_end(stopped) == ""
    assert status_of(tmp_path / "stopped") == "KILLED"


def test_waiting_is_over_as_soon_as_a_job_has_ended(executor: LocalExecutor, tmp_path: Path) -> None:
    refused = started(executor, tmp_path / "refused", {"trainer": "nonsense"})
    before = time.monotonic()
    executor.wait(600)
    assert refused.ended() == ""
    assert time.monotonic() - before < 300
