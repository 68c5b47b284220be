"""The short version of campaign.py: a few kills of a real sweep. The rest of it takes minutes: make test-faults."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.campaign import choose, kill_again_and_again, undisturbed
from faults.lab import Trial, assert_recorded, assert_same, kill_what_is_left

JOBS = 2


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Trial, float]]:
    """An undisturbed sweep, and the seconds until it trained."""
    try:
        yield undisturbed(tmp_path_factory.mktemp("undisturbed") / "work", JOBS)[:2]
    finally:
        kill_what_is_left()


def test_a_sweep_killed_again_and_again_ends_as_if_nothing_had_been(
    reference: tuple[Trial, float], tmp_path: Path
) -> None:
    expected, startup = reference
    trial = Trial(tmp_path / "killed", JOBS)
    lines: list[str] = []
    kill_again_and_again(trial, choose(3, JOBS, seed=0), startup, lines.append)
    assert len(lines) == 4
    assert_same(trial, expected)
    assert_recorded(trial)
