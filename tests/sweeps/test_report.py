"""What is said of a sweep's comparison that could not be drawn."""

import signal
from pathlib import Path

import pytest

from vae_experiments.runs.plan import Job, Plan
from vae_experiments.runs.sweep_folder import SweepFolder
from vae_experiments.sweeps.parent import Parent
from vae_experiments.sweeps.report import Report
from vae_experiments.tracking.config import TrackingConfig

PLAN = Plan(
    name="seeds", command=["seed=1,2"], keys=["seed"], jobs=[Job(n, f"seed={n}", {"seed": n}, "") for n in (1, 2)],
    at_once=None, launcher={}, tracking={}, on_failure="continue", code="",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    sweep = SweepFolder(tmp_path / "sweep")
    sweep.path.mkdir()
    sweep.write_plan(PLAN)
    return sweep


def warnings(folder: SweepFolder, caplog: pytest.LogCaptureFixture) -> list[str]:
    tracking = TrackingConfig(enabled=False)
    Report(folder, Parent(folder.path, None, tracking)).finish()
    return [record.getMessage() for record in caplog.records]


def test_a_drawing_under_way_at_the_end_is_given_up(folder: SweepFolder, caplog: pytest.LogCaptureFixture) -> None:
    report = Report(folder, Parent(folder.path, None, TrackingConfig(enabled=False)))
    report._start(alone=False)
    under_way = report._process
    report.finish()
    assert under_way is not None
    assert under_way.exitcode == -signal.SIGKILL
    assert (folder.comparison / "table.md").is_file()
    assert caplog.records == []


def test_a_comparison_that_cannot_be_written_is_said(folder: SweepFolder, caplog: pytest.LogCaptureFixture) -> None:
    folder.comparison.touch()  # where a folder should be
    assert warnings(folder, caplog) == [
        f"the comparison could not be drawn; its traceback is in {folder.path / 'run.log'}"
    ]
    assert "Traceback" in (folder.path / "run.log").read_text()


def test_a_preview_that_cannot_be_written_is_told_from_that(
    folder: SweepFolder, caplog: pytest.LogCaptureFixture
) -> None:
    folder.comparison.mkdir()
    (folder.comparison / "contact_sheet.png").write_text("no picture")
    assert warnings(folder, caplog) == [
        f"the comparison's preview could not be drawn; its traceback is in {folder.path / 'run.log'}"
    ]
    assert (folder.comparison / "table.md").is_file()
    assert "Traceback" in (folder.path / "run.log").read_text()
