"""Processes share a batch without overlap or gap."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_experiments.training.world import World, join_world


@settings(deadline=None)  # the machine may be busy
@given(n=st.integers(0, 10_000), size=st.integers(1, 64))
def test_shares_cover_every_image_once_and_evenly(n: int, size: int) -> None:
    shares = [range(n)[World(rank, size).share(n)] for rank in range(size)]
    assert [i for share in shares for i in share] == list(range(n))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_one_process_is_a_world_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert join_world() == World(0, 1)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert join_world() == World(0, 1)
    assert World().share(7) == slice(0, 7)
    assert World().from_first("x") == "x"
    assert World().is_first
    assert not World(1, 2).is_first


ENDS = """
import os
from torch import distributed, nn, ones
from vae_experiments.training.world import join_world, leave_world
world = join_world()
nn.parallel.DistributedDataParallel(nn.Linear(2, 2))(ones(1, 2)).sum().backward()
assert world.sum(ones(1)).item() == 2 and world.from_first(world.rank) == 0
named = lambda: [open(f"/proc/self/task/{task}/comm").read() for task in os.listdir("/proc/self/task")]
assert any("gloo" in name for name in named())
leave_world()
assert not any("gloo" in name for name in named()), named()
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads as Linux does")
def test_no_thread_of_the_group_outlives_it() -> None:
    Path("ends.py").write_text(ENDS)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "ends.py"]
    ended = subprocess.run(launch, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 0, ended.stderr
