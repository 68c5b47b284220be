import shlex
from pathlib import Path

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from vae_experiments.runs.closing import closing_lines
from vae_experiments.tracking.journal import Journal

WAYS = ["vae generate x", "vae evaluate x", "vae train"]


def tracked(folder: Path, uri: str, configured: str | None = None, experiment: str = "vae") -> Path:
    folder.mkdir(parents=True)
    Journal(folder).append("start", 0, run_id="abc", experiment_id="7", uri=uri, configured=configured)
    (folder / "config.yaml").write_text(yaml.safe_dump({"tracking": {"uri": configured, "experiment": experiment}}))
    return folder


def shows(folder: Path) -> list[str]:
    """The words of the command that shows the run."""
    (line,) = [line for line in closing_lines(folder, WAYS) if line.startswith("MLflow")]
    return shlex.split(line)[1:]


def test_a_run_in_a_database_names_the_command_that_shows_it() -> None:
    folder = tracked(Path.cwd() / "outputs" / "r", f"sqlite:///{Path.cwd()}/mlflow.db")
    (folder / "figures").mkdir()
    assert list(closing_lines(folder, WAYS)) == [
        "results   outputs/r",
        "pictures  outputs/r/figures",
        "MLflow    vae ui",
        "next      vae generate x",
        "          vae evaluate x",
        "          vae train",
    ]


def test_that_command_names_the_store_as_it_was_typed_where_it_would_open_another() -> None:
    folder = tracked(Path.cwd() / "r", f"sqlite:///{Path.cwd()}/my runs.db", "sqlite:///my runs.db")
    assert shows(folder) == ["vae", "ui", "tracking.uri=sqlite:///my runs.db"]


def test_it_names_the_store_whole_where_the_run_was_recorded_from_another_folder() -> None:
    folder = tracked(Path.cwd() / "r", "sqlite:////else/where/mlflow.db")
    assert shows(folder) == ["vae", "ui", "tracking.uri=sqlite:////else/where/mlflow.db"]


def test_it_names_an_experiment_of_one_s_own() -> None:
    folder = tracked(Path.cwd() / "r", f"sqlite:///{Path.cwd()}/mlflow.db", experiment="it's mine, 2")
    (word,) = shows(folder)[2:]
    assert OverridesParser.create().parse_override(word).value() == "it's mine, 2"


def test_it_has_no_password_and_needs_none_where_the_environment_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = "postgresql://me:***@host/runs"
    folder = tracked(Path.cwd() / "r", hidden, hidden)
    (word,) = shows(folder)[2:]
    assert OverridesParser.create().parse_override(word).value() == hidden
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:secret@host/runs")
    assert shows(folder) == ["vae", "ui"]


def test_a_run_on_a_server_has_its_page_without_the_password() -> None:
    lines = list(closing_lines(tracked(Path.cwd() / "r", "https://***@host:5000"), WAYS))
    assert "MLflow    https://host:5000/#/experiments/7/runs/abc?workflowType=machine_learning" in lines


def test_a_run_that_mlflow_does_not_know_has_its_folder_alone() -> None:
    assert list(closing_lines(Path.cwd() / "r", WAYS[:1])) == ["results   r", "next      vae generate x"]
