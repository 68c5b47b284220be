"""Small runs, commands as people type them, and what they leave behind."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vae_experiments.kernels import compiled
from vae_experiments.training.checkpoints import load_checkpoint

# A run as small as a run can be: 200 digits, four steps an epoch.
TINY = [
    "experiment=smoke",
    "dataset/split=fractions",
    "dataset.split.train=0.04",
    "dataset.split.val=0.02",
    "dataset.split.test=0.94",
    "architecture.filters=[4,4,4,4]",
    "architecture.batch_size=50",
    "trainer.threads=1",
    "figures.epoch_manifold_size=3",
]
BARE = [*TINY, "tracking=off", "hooks.gallery=null"]  # and with nothing but the training

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
NO_BFLOAT16 = compiled.why_not(torch.bfloat16)
needs_bfloat16 = pytest.mark.skipif(NO_BFLOAT16 is not None, reason=f"needs the kernels in bfloat16 ({NO_BFLOAT16})")
NO_FLOAT32 = compiled.why_not(torch.float32)
needs_float32 = pytest.mark.skipif(NO_FLOAT32 is not None, reason=f"needs the kernels in float32 ({NO_FLOAT32})")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str


Vae = Callable[..., Ended]


def command(*arguments: str, torchrun: int = 0) -> list[str]:
    """The same as a process of its own."""
    if torchrun:
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(torchrun), "-m"]
        return [sys.executable, *launcher, "vae_experiments", *arguments]
    return [sys.executable, "-m", "vae_experiments", *arguments]


def run_process(*arguments: str, torchrun: int = 0, **environment: str) -> Ended:
    done = subprocess.run(
        command(*arguments, torchrun=torchrun), capture_output=True, text=True, timeout=240,
        env=os.environ | environment, check=False,
    )  # fmt: skip
    return Ended(done.returncode, done.stdout, done.stderr)


def continued(said: str) -> list[str]:
    """The words after `vae` of the command that an interrupted run or sweep says continues it."""
    (line,) = [line for line in said.splitlines() if "continue with: " in line]
    return pasted(line.partition("continue with: ")[2])


def pasted(line: str) -> list[str]:
    """The words after `vae` of a command that was written down, as a shell takes them."""
    vae, *words = shlex.split(line)
    assert vae == "vae"
    return words


def only_folder(root: str = "outputs") -> Path:
    """The one run under `root`."""
    (folder,) = Path(root).iterdir()
    return folder


def status_of(folder: Path) -> str:
    return str(json.loads((folder / "run.json").read_text())["status"])


def weights(folder: Path, name: str = "last.ckpt") -> dict[str, object]:
    return dict(load_checkpoint(folder / "checkpoints" / name)["state"]["vae"])


def results(folder: Path) -> list[dict[str, float]]:
    """Each epoch's metrics, without those that measure time."""
    history = load_checkpoint(folder / "checkpoints" / "last.ckpt")["state"]["history"]
    return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in history]


def operations(y: Tensor) -> list[str]:
    """The names of all that autograd would differentiate y through."""
    nodes, waiting = set(), [y.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in nodes:
            nodes.add(node)
            waiting += [before for before, _ in node.next_functions]
    return [node.name() for node in nodes]
