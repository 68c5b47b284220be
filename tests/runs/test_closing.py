from pathlib import Path

from vae_experiments.runs.closing import closing_lines
from vae_experiments.tracking.journal import Journal

WAYS = ["vae generate x", "vae evaluate x", "vae train"]


def tracked(folder: Path, uri: str) -> Path:
    folder.mkdir(parents=True)
    Journal(folder).append("start", 0, run_id="abc", experiment_id="7", uri=uri, configured=None)
    return folder


def test_a_run_in_a_database_names_the_command_that_shows_it(tmp_path: Path) -> None:
    folder = tracked(Path.cwd() / "outputs" / "r", f"sqlite:///{tmp_path}/mlflow.db")
    (folder / "figures").mkdir()
    assert list(closing_lines(folder, WAYS)) == [
        "results   outputs/r",
        "pictures  outputs/r/figures",
        "MLflow    vae ui",
        "next      vae generate x",
        "          vae evaluate x",
        "          vae train",
    ]


def test_a_run_on_a_server_has_its_page_without_the_password() -> None:
    lines = list(closing_lines(tracked(Path.cwd() / "r", "https://***@host:5000"), WAYS))
    assert "MLflow    https://host:5000/#/experiments/7/runs/abc?workflowType=machine_learning" in lines


def test_a_run_that_mlflow_does_not_know_has_its_folder_alone() -> None:
    assert list(closing_lines(Path.cwd() / "r", WAYS[:1])) == ["results   r", "next      vae generate x"]
