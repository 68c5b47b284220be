"""Processes share a batch without overlap or gap."""

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
