import json
import shutil
from pathlib import Path

import pytest
from support import results

from vae_experiments.comparison.folders import run_row, sweep_rows
from vae_experiments.errors import InputError
from vae_experiments.lock import RunLock
from vae_experiments.runs.folder import RunFolder


@pytest.fixture
def copy(sweep: Path, tmp_path: Path) -> Path:
    """The sweep, to be changed."""
    return Path(shutil.copytree(sweep, tmp_path / "grid"))


def test_each_job_is_a_row_with_what_it_reached_at_its_best_epoch(sweep: Path) -> None:
    plan, rows = sweep_rows(sweep)
    assert plan.name == "a grid"
    assert [row.status for row in rows] == ["FINISHED", "FINISHED", "FINISHED", "SCHEDULED"]
    assert [(row.params["architecture.latent_dim"], row.seed) for row in rows] == [(2, 0), (2, 1), (3, 0), (3, 1)]
    for number, row in enumerate(rows[:3]):
        best = max(results(sweep / str(number)), key=lambda epoch: epoch["val/elbo"])
        assert row.value("val/elbo") == best["val/elbo"]
        assert row.value("val/kl") == best["val/kl"]
        assert row.seconds is not None
    assert rows[3].best == {}
    assert rows[3].value("val/elbo") is None


def test_a_job_under_way_shows_its_finished_epochs(copy: Path) -> None:
    path = copy / "0" / "progress.json"
    progress = json.loads(path.read_text())
    path.write_text(json.dumps({**progress, "history": progress["history"][:1]}))
    info = copy / "0" / "run.json"
    info.write_text(info.read_text().replace("FINISHED", "RUNNING"))
    with RunLock(copy / "0"):
        row = sweep_rows(copy)[1][0]
    assert (row.status, len(row.history), row.best_epoch) == ("RUNNING", 1, 1)
    assert sweep_rows(copy)[1][0].status == "KILLED"  # nobody holds it any more


def test_damaged_files_of_a_job_leave_a_row_and_the_others(copy: Path) -> None:
    (copy / "0" / "progress.json").write_text('{"epoch": 1, "hist')
    (copy / "1" / "run.json").write_text("{")
    rows = sweep_rows(copy)[1]
    assert [row.status for row in rows] == ["FINISHED", "UNKNOWN", "FINISHED", "SCHEDULED"]
    assert rows[0].value("val/elbo") == max(epoch["val/elbo"] for epoch in results(copy / "0"))


def test_a_single_run_brings_its_whole_config(sweep: Path) -> None:
    row = run_row(sweep / "2")
    assert row.params["architecture.latent_dim"] == 3
    assert row.params["optimizer.lr"] == RunFolder(sweep / "2").config()["optimizer"]["lr"]
    assert (row.run_id, row.seed, row.folder) == (None, 0, sweep / "2")


def test_a_folder_without_a_plan_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a sweep's folder"):
        sweep_rows(tmp_path)
