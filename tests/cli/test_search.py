"""Searches as people type them: interrupted, moved, and resumed when there is nothing left to do."""

import signal
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient
from optuna.trial import FrozenTrial, TrialState
from support import TINY, Vae, pasted, results, status_of
from sweeping import QUICK, begin, epochs, wait_for

from vae_experiments.cli import main
from vae_experiments.runs.sweep_folder import SweepFolder
from vae_experiments.tracking.journal import read_start

SEARCH = [*TINY, QUICK, "hooks.gallery=null", "hooks.models=null", "hydra/sweeper=optuna"]


def trials(sweep: Path) -> list[FrozenTrial]:
    """Of the one study that the sweep's folder holds."""
    storage = f"sqlite:///{sweep.absolute()}/optuna.db"
    (name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage).trials


def statuses(work: Path) -> dict[str, str]:
    """Of every run in the store, by its folder."""
    client = MlflowClient(f"sqlite:///{work}/mlflow.db")
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
    found = {run.data.tags["vae.folder"]: str(run.info.status) for run in runs}
    assert len(found) == len(runs)
    return found


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a search that ran to its end, some of its trials stopped as hopeless."""
    work = tmp_path_factory.mktemp("searched")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(work)
        status = main([
            "train", "-m", *SEARCH, "hydra.sweep.dir=multirun/s", "hydra.sweeper.n_trials=4",
            "hydra.sweeper.sampler=random", "optimizer.lr=choice(1e-7,1e-2)", "seed=choice(0,1,2,3,4,5,6,7)",
            "hydra.sweeper.pruner={_target_:optuna.pruners.ThresholdPruner,lower:-530,n_warmup_steps:2}",
            "scheduler=constant", "trainer.max_epochs=20",
        ])  # fmt: skip
    assert status == 0
    return work / "multirun" / "s"


def test_a_finished_search_resumed_again_changes_nothing(
    vae: Vae, searched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = searched.parents[1]
    before = trials(searched)
    assert len(before) == 4
    assert {trial.state for trial in before} == {TrialState.COMPLETE, TrialState.PRUNED}
    expected = {str(searched): "FINISHED"} | {
        str(searched / str(trial.number)): "FINISHED" if trial.state == TrialState.COMPLETE else "KILLED"
        for trial in before
    }
    assert statuses(work) == expected
    monkeypatch.chdir(work)
    for _ in range(2):
        again = vae("resume", "multirun/s")
        assert again.status == 0, again.err
        assert "is finished" in again.err
        assert statuses(work) == expected
        assert trials(searched) == before
        assert {folder: status_of(Path(folder)) for folder in expected} == expected
        assert sorted(path.name for path in searched.iterdir() if path.name.isdigit()) == list("0123")


def test_the_command_on_record_plans_the_same_search_again(vae: Vae, searched: Path) -> None:
    client = MlflowClient(f"sqlite:///{searched.parents[1]}/mlflow.db")
    parent = client.get_run(str(read_start(searched).data["run_id"]))
    again = vae(*pasted(parent.data.params["command"]), "hydra.sweep.dir=again", "hydra.sweeper.n_trials=1")
    assert again.status == 0, again.err
    first, second = (SweepFolder(folder).plan() for folder in (searched, Path("again")))
    assert first.search is not None
    assert second.search is not None
    assert second.search["settings"] == first.search["settings"] | {"n_trials": 1, "study": "again"}


def test_a_search_goes_on_under_another_name(vae: Vae) -> None:
    sweep = Path("multirun/before")
    process = begin(
        *SEARCH, f"hydra.sweep.dir={sweep}", "hydra.sweeper.n_trials=3", "hydra.sweeper.pruner=none", "sweep.jobs=2",
        "optimizer.lr=tag(log,interval(1e-4,1e-2))", "trainer.max_epochs=20",
    )  # fmt: skip
    wait_for(lambda: epochs(sweep / "0") and epochs(sweep / "1"))
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM, said
    drawn = {trial.number: trial.params for trial in trials(sweep)}
    assert len(drawn) == 2
    renamed = sweep.rename("multirun/after it")

    resumed = vae("resume", str(renamed))
    assert resumed.status == 0, resumed.err
    assert not sweep.exists()
    told = trials(renamed)
    assert [trial.state for trial in told] == [TrialState.COMPLETE] * 3
    assert {number: told[number].params for number in drawn} == drawn
    assert len({trial.params["optimizer.lr"] for trial in told}) == 3
    for trial in told:
        history = results(renamed / str(trial.number))
        assert (len(history), status_of(renamed / str(trial.number))) == (20, "FINISHED")
        assert trial.value == history[int(history[-1]["best/epoch"]) - 1]["val/elbo"]
    folders = [renamed.absolute(), *(renamed.absolute() / n for n in "012")]
    assert statuses(Path.cwd()) == {str(folder): "FINISHED" for folder in folders}
