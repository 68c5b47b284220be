"""vae compare: a sweep, and any other runs, side by side."""

import csv
from pathlib import Path

import pytest
from mlflow import MlflowClient
from support import TINY, Ended, Vae, run_process

from vae_experiments.cli import main
from vae_experiments.lock import RunLock
from vae_experiments.verbs.compare import refs_first

TABLES = {"table.md", "table.csv"}
PICTURES = {"by_parameter.png", "rate_distortion.png", "learning_curves.png"}
QUICK = ["hooks.gallery=null", "hooks.models=null", "hooks.unfolding=null", "trainer.max_epochs=1"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working directory of a sweep over two latent dimensions, and of a run of its own."""
    work = tmp_path_factory.mktemp("compared")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(work)
        assert main(["train", *TINY, *QUICK, "name=alone"]) == 0
        sweep = run_process("train", "-m", *TINY, *QUICK, "architecture.latent_dim=2,3", "hydra.sweep.dir=multirun/s")
        assert sweep.status == 0, sweep.err
    return work


@pytest.fixture
def at(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In that working directory; the sweep's folder."""
    monkeypatch.chdir(trained)
    return trained / "multirun" / "s"


def refusal(ended: Ended) -> str:
    """The one line that a mistake is answered with."""
    assert ended.status == 2, ended.err
    assert "Traceback" not in ended.err
    (line,) = [line for line in ended.err.splitlines() if line.startswith("vae: ")]
    return line


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def table(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "table.csv").read_text().splitlines()))


def test_without_a_ref_it_is_the_latest_sweep(vae: Vae, at: Path) -> None:
    for path in (at / "comparison").glob("*"):
        path.unlink()
    ended = vae("compare")
    assert ended.status == 0, ended.err
    header, *lines = ended.out.splitlines()[1:]
    assert header.split()[:3] == ["latent_dim", "status", "elbo"]
    assert sorted(line.split()[:2] for line in lines[:2]) == [["2", "FINISHED"], ["3", "FINISHED"]]
    assert names(at / "comparison") == TABLES | PICTURES | {"contact_sheet.png", "explorer.html"}
    assert str(at / "comparison" / "table.md") in ended.err


def test_a_sweeps_files_are_in_its_mlflow_run(vae: Vae, at: Path) -> None:
    client = MlflowClient(f"sqlite:///{at.parents[1]}/mlflow.db")
    (parent,) = client.search_runs(["1"], "tags.`vae.kind` = 'sweep'")
    before = {item.path for item in client.list_artifacts(parent.info.run_id, "comparison")}
    mine = Path("mine")
    assert vae("compare", str(at), f"out={mine}", "sheet=false").status == 0
    assert names(mine) == TABLES | PICTURES
    after = {item.path for item in client.list_artifacts(parent.info.run_id, "comparison")}
    assert {f"comparison/{name}" for name in TABLES | PICTURES} <= after
    assert before <= after


def test_any_runs_can_be_compared(vae: Vae, at: Path, tmp_path: Path) -> None:
    ended = vae("compare", str(at / "0"), "alone", f"out={tmp_path}/new", "sheet=false")
    assert ended.status == 0, ended.err
    assert len(table(tmp_path / "new")) == 2
    every = vae("compare", "all", f"out={tmp_path}/all", "sheet=false")
    assert every.status == 0, every.err
    assert sorted(row["architecture.latent_dim"] for row in table(tmp_path / "all")) == ["2", "2", "3"]


def test_runs_that_are_no_sweep_land_in_the_working_directory(
    vae: Vae, at: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = vae("compare", str(at / "0"), str(at / "1"), "sheet=false", "tracking=off")
    assert ended.status == 0, ended.err
    assert names(Path("comparison")) >= TABLES


def test_a_sweep_at_work_keeps_its_own_comparison(vae: Vae, at: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (at / "comparison").iterdir()}
    with RunLock(at):
        ended = vae("compare", str(at), "sheet=false")
    assert ended.status == 0, ended.err
    assert {path: path.stat().st_mtime_ns for path in (at / "comparison").iterdir()} == before
    assert names(Path("comparison")) >= TABLES


def test_another_metric_decides_what_is_best(vae: Vae, at: Path, tmp_path: Path) -> None:
    assert vae("compare", str(at), "metric=val/kl", f"out={tmp_path}/kl", "sheet=false").status == 0
    kls = [float(row["best/val_kl"]) for row in table(tmp_path / "kl")]
    assert kls == sorted(kls)


def test_mistakes_get_one_line(vae: Vae, at: Path) -> None:
    assert "metric=val/elbow: none of the runs has it; did you mean 'val/elbo'?" in refusal(
        vae("compare", str(at), "metric=val/elbow")
    )
    assert "no run folder, run id or run name" in refusal(vae("compare", "nonsense"))
    assert "is a sweep, not a run: name a job's folder" in refusal(vae("generate", str(at)))
    Path("file").write_text("")
    assert "choose another folder" in refusal(vae("compare", str(at), "out=file/x", "sheet=false"))


@pytest.mark.parametrize(
    ("words", "composed"),
    [
        ([], []),
        (["a", "b c", "sheet=false"], ["runs=['a','b c']", "sheet=false"]),
        (["latent_dim=8 kl_weight=4", "out=x"], ["runs=['latent_dim=8 kl_weight=4']", "out=x"]),
        (["--help"], ["--help"]),
        (["runs=[a]"], ["runs=[a]"]),
    ],
)
def test_bare_words_are_refs(words: list[str], composed: list[str]) -> None:
    assert refs_first(words) == composed
