"""Sweeps as people type them, each test a small real one."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from support import BARE, TINY, Ended, Vae, continued, only_folder, pasted, results, run_process, status_of, weights
from sweeping import QUICK, begin, job_process, wait_for

from vae_experiments.training.checkpoints import digest


def client_of(sweep: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{sweep.parent.parent}/mlflow.db")


def children(folder: Path) -> dict[str, Run]:
    """The MLflow runs below the sweep's parent run, by name."""
    client = client_of(folder)
    parent = parent_of(folder)
    runs = client.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert len({run.info.run_name for run in runs}) == len(runs)
    return {str(run.info.run_name): run for run in runs}


def parent_of(folder: Path) -> Run:
    start = json.loads((folder / "journal.jsonl").read_text().splitlines()[0])
    return client_of(folder).get_run(start["run_id"])


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ended, Path]]:
    """Two seeds of two models, one of which cannot train; typed twice over."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("swept"))
    try:
        ended = run_process("train", "-m", *TINY, QUICK, "optimizer.lr=1e-3,1e30,1e-3", "seed=range(2)", "name=small")
        yield ended, only_folder("multirun").absolute()
    finally:
        os.chdir(before)


def test_a_failed_job_is_listed_and_the_others_finish(swept: tuple[Ended, Path]) -> None:
    ended, folder = swept
    assert ended.status == 1
    assert "2 duplicates dropped" in ended.err
    assert [status_of(folder / str(n)) for n in range(4)] == ["FINISHED", "FINISHED", "FAILED", "FAILED"]
    for number in (2, 3):
        told = [line for line in ended.err.splitlines() if line.startswith(f"failed: job {number} ")]
        assert len(told) == 1
        assert "not finite" in (folder / str(number) / "run.log").read_text()
        assert f"{number}/run.log" in told[0]
        assert "nan" in told[0]
    assert "2 of 4 jobs failed" in ended.err
    assert f"vae resume multirun/{folder.name}" in ended.err


def test_what_is_proposed_next_is_about_the_best_job_and_last_the_table_that_was_just_shown(
    swept: tuple[Ended, Path],
) -> None:
    ended, folder = swept
    said = ended.err.splitlines()
    (first,) = [number for number, line in enumerate(said) if line.startswith("next ")]
    verbs, named = zip(*(pasted(line[10:])[:2] for line in said[first : first + 3]), strict=True)
    assert verbs == ("generate", "evaluate", "compare")
    sweep = f"multirun/{folder.name}"
    assert named[0] == named[1]
    assert named[0] in (f"{sweep}/0", f"{sweep}/1")  # the others failed
    assert named[2] == sweep


def test_jobs_are_children_of_one_run_named_by_what_varied(swept: tuple[Ended, Path]) -> None:
    _, folder = swept
    parent = parent_of(folder)
    assert (parent.info.run_name, parent.info.status) == ("small", "FAILED")
    assert parent.data.params["optimizer.lr"] == "0.001, 1e+30"
    assert parent.data.tags["vae.kind"] == "sweep"
    runs = children(folder)
    assert {name: run.info.status for name, run in runs.items()} == {
        "lr=0.001 seed=0": "FINISHED",
        "lr=0.001 seed=1": "FINISHED",
        "lr=1e+30 seed=0": "FAILED",
        "lr=1e+30 seed=1": "FAILED",
    }
    failed = runs["lr=1e+30 seed=0"]
    client = client_of(folder)
    assert "traceback.txt" in {each.path for each in client.list_artifacts(failed.info.run_id)}


def test_the_command_on_record_plans_the_same_sweep_again(vae: Vae, swept: tuple[Ended, Path]) -> None:
    _, folder = swept
    again = vae(*pasted(parent_of(folder).data.params["command"]), "plan=true")
    assert again.status == 0, again.err
    rows = [line.split() for line in again.err.splitlines() if line[:1].isdigit()]
    assert [[float(value) for value in row[1:3]] for row in rows[:4]] == [[1e-3, 0], [1e-3, 1], [1e30, 0], [1e30, 1]]


def test_the_comparison_hangs_on_the_parent_run(swept: tuple[Ended, Path]) -> None:
    _, folder = swept
    client = client_of(folder)
    attached = {each.path for each in client.list_artifacts(parent_of(folder).info.run_id, "comparison")}
    assert {"comparison/table.md", "comparison/table.csv", "comparison/contact_sheet.png"} <= attached
    assert "comparison/preview.png" in attached  # as wide as the page has room for
    assert "| 0.001" in parent_of(folder).data.tags["mlflow.note.content"]


def test_a_job_is_the_run_that_would_have_been_trained_alone(swept: tuple[Ended, Path]) -> None:
    _, folder = swept
    assert run_process("train", *TINY, "optimizer.lr=1e-3", "seed=1", "name=alone").status == 0
    alone = only_folder()
    assert digest(weights(alone)) == digest(weights(folder / "1"))
    assert results(alone) == results(folder / "1")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["architecture.latent_dim=2,3,-1"], "job 2: architecture.latent_dim=-1"),
        (["objective.kl_wight=1,2"], "objective.kl_wight: no such key; did you mean 'kl_weight'"),
        (["architecture=conv,nlp"], "architecture=nlp: no such option; did you mean 'mlp'"),
        (["seed=1,2", "sweep.zip=[sed]"], "sed is not swept; did you mean 'seed'"),
        (["seed=1,2", "sweep.jobs=0"], "sweep.jobs=0: should be greater than or equal to 1"),
        (["seed=1,2", "sweep.jobs=1,2"], "sweep.jobs=1,2: is the same for a whole sweep"),
        (["seed=1,2", "hydra/launcher=basic"], "use hydra/launcher=local"),
        (["optimizer.lr=interval(1e-4,1e-2)"], "hydra/sweeper=optuna"),
        (["seed=1,2", "architecture.strides=[1,1]"], "job 0: architecture"),
    ],
)
def test_a_sweep_that_cannot_work_leaves_nothing(vae: Vae, words: list[str], message: str) -> None:
    ended = vae("train", "-m", *TINY, *words)
    assert (ended.status, message in ended.err) == (2, True), ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert list(Path.cwd().iterdir()) == []


def test_a_plan_is_shown_and_nothing_is_made(vae: Vae) -> None:
    ended = vae(
        "train", "-m", *TINY, "plan=true", "sweep.zip=[seed,optimizer.lr]", "seed=3,4", "optimizer.lr=1e-3,2e-3"
    )
    assert ended.status == 0
    rows = [line.split() for line in ended.err.splitlines() if line[:1].isdigit()]
    assert [row[1:3] for row in rows[:2]] == [["3", "0.001"], ["4", "0.002"]]
    assert vae("train", *TINY, "plan=true").status == 0
    assert list(Path.cwd().iterdir()) == []


def test_an_experiment_may_bring_its_own_sweep(vae: Vae) -> None:
    for name in ("latent_sweep", "kl_sweep"):
        ended = vae("train", f"experiment={name}", "dataset=mnist5k", "plan=true", QUICK)
        assert ended.status == 0, ended.err
        assert ended.err.startswith(f"{name}: ")
        assert len([line for line in ended.err.splitlines() if line[:2].strip().isdigit()]) >= 4


def begun(sweep: Path, number: int) -> bool:
    return (sweep / str(number) / "run.json").is_file()


def start_sweep(*words: str) -> tuple[subprocess.Popen[str], Path]:
    """A sweep under way, once its plan is written."""
    process = begin(*BARE, QUICK, *words)
    return process, wait_for(lambda: next((p.parent for p in Path("multirun").glob("*/plan.json")), None))


def test_killed_job_interrupted_sweep_edited_config(tmp_path: Path) -> None:
    """One job is killed, then the sweep gets Ctrl-C; a config of ours is edited meanwhile; a resume ends it all."""
    mine = tmp_path / "conf" / "optimizer"
    mine.mkdir(parents=True)
    (mine / "mine.yaml").write_text("defaults: [adam]\nlr: 0.002\n")
    words = ("trainer.max_epochs=30", "seed=range(4)")
    process, sweep = start_sweep("--config-dir", str(tmp_path / "conf"), "optimizer=mine", "sweep.jobs=2", *words)
    (mine / "mine.yaml").write_text("defaults: [adam]\nlr: 1e30\n")
    wait_for(lambda: begun(sweep, 0) and begun(sweep, 1))
    victim = job_process(sweep / "1")
    assert victim is not None
    victim.send_signal(signal.SIGKILL)
    wait_for(lambda: begun(sweep, 2))
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "job 1 failed" in said
    assert "SIGKILL" in said
    assert f"results   multirun/{sweep.name}" in said.splitlines()
    assert (status_of(sweep), status_of(sweep / "1"), begun(sweep, 3)) == ("KILLED", "FAILED", False)
    assert all(status_of(sweep / n) in ("KILLED", "FINISHED") for n in ("0", "2"))

    config = sweep / "3" / "config.yaml"
    planned = config.read_text()
    config.write_text(planned.replace("max_epochs: 30", "max_epochs: 31"))
    refused = run_process("resume", str(sweep))
    assert refused.status == 2
    assert "3/config.yaml: is not what was planned" in refused.err
    config.write_text(planned)

    resumed = run_process("resume")
    assert resumed.status == 0, resumed.err
    assert [status_of(sweep / str(n)) for n in range(4)] == ["FINISHED"] * 4
    assert [len(results(sweep / str(n))) for n in range(4)] == [30] * 4
    again = run_process("train", "-m", *BARE, QUICK, *words, "optimizer.lr=0.002", "hydra.sweep.dir=whole")
    assert again.status == 0
    for n in range(4):
        assert results(sweep / str(n)) == results(Path("whole") / str(n))
        assert digest(weights(sweep / str(n))) == digest(weights(Path("whole") / str(n)))

    assert "is finished" in run_process("resume", str(sweep)).err


def test_an_interrupted_sweep_is_continued_by_what_it_says() -> None:
    Path("mine.py").write_text(
        "from vae_experiments.models.priors import StandardNormal\nclass Own(StandardNormal): ...\n"
    )
    priors = "prior._target_=vae_experiments.models.priors.StandardNormal,mine.Own"
    process, sweep = start_sweep("trainer.max_epochs=30", "sweep.jobs=1", priors)
    wait_for(lambda: begun(sweep, 0))
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=120)
    resumed = run_process(*continued(said))
    assert resumed.status == 0, resumed.err
    assert [status_of(sweep / n) for n in ("0", "1")] == ["FINISHED"] * 2


def test_one_failure_can_stop_a_sweep() -> None:
    ended = run_process(
        "train", "-m", *BARE, QUICK, "optimizer.lr=1e30,1e-3,2e-3", "sweep.jobs=1", "sweep.on_failure=stop"
    )
    sweep = only_folder("multirun")
    assert ended.status == 1
    assert [begun(sweep, n) for n in range(3)] == [True, False, False]
    assert "1 of 3 jobs failed" in ended.err
