"""A run's entry into MLflow, where nobody has begun to write the run yet, or will ever."""

from collections.abc import Callable
from pathlib import Path

import pytest

from vae_experiments.errors import InputError
from vae_experiments.lock import RunLock
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.tracking.registration import KEY, register
from vae_experiments.tracking.store import Store
from vae_experiments.tracking.tracker import Tracker

Enter = Callable[[], str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "sweep" / "0"


@pytest.fixture
def enter(config: TrackingConfig, folder: Path) -> Enter:
    """Registers the folder as a sweep does its jobs', in a store just opened; the MLflow run's id."""

    def once() -> str:
        journal = register(
            Store.open(config), config, run_name="job", folder=folder, tags={}, parent_run_id="a" * 32, scheduled=True
        )
        return str(journal.start.data["run_id"])

    return once


def statuses(config: TrackingConfig) -> dict[str, str]:
    return {run.run_id: run.status for run in Store.open(config).runs()}


def test_a_job_that_waits_its_turn_is_no_dead_process(config: TrackingConfig, folder: Path, enter: Enter) -> None:
    run_id = enter()
    assert statuses(config) == {run_id: "SCHEDULED"}  # another command opens the store, and again
    assert statuses(config) == {run_id: "SCHEDULED"}
    with RunLock(folder):
        tracker = Tracker.resume(config, folder=folder)
        assert tracker.run_id == run_id
        assert statuses(config) == {run_id: "RUNNING"}
        assert tracker.finish("FINISHED")
    assert statuses(config) == {run_id: "FINISHED"}


def test_a_run_that_is_begun_at_once_is_running(config: TrackingConfig, folder: Path) -> None:
    with RunLock(folder):
        journal = register(Store.open(config), config, run_name="run", folder=folder, tags={})
        assert statuses(config) == {journal.start.data["run_id"]: "RUNNING"}


def test_a_kill_before_the_journal_s_first_line_makes_no_second_run(
    config: TrackingConfig, folder: Path, enter: Enter
) -> None:
    first = enter()
    key = (folder / KEY).read_bytes()
    for left in ("nothing", "an empty file", "half a line"):
        for path in folder.glob("journal.*"):
            if path.name != KEY:
                path.unlink()
        if left != "nothing":
            (folder / "journal.jsonl").write_text("" if left == "an empty file" else '{"kind": "sta')
        assert enter() == first, left
        assert (folder / KEY).read_bytes() == key
        assert statuses(config) == {first: "SCHEDULED"}, left


def test_a_folder_takes_no_run_beside_its_own(config: TrackingConfig, folder: Path, enter: Enter) -> None:
    first = enter()
    with pytest.raises(InputError, match="already belongs to a run"):
        enter()
    assert list(statuses(config)) == [first]


def test_each_folder_is_a_run_of_its_own(config: TrackingConfig, tmp_path: Path) -> None:
    store = Store.open(config)
    for number in range(3):
        register(store, config, run_name="job", folder=tmp_path / str(number), tags={}, scheduled=True)
    runs = store.runs()
    assert len({run.run_id for run in runs}) == len({run.tags["vae.folder"] for run in runs}) == 3
