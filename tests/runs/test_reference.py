from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from vae_experiments.errors import InputError
from vae_experiments.lock import RunLock
from vae_experiments.runs.reference import Reference, find_folder, resolve
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.tracking.store import Store
from vae_experiments.tracking.tracker import Tracker


@dataclass
class Runs:
    config: TrackingConfig
    folder: Path
    ids: dict[str, str]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Three runs, of which "a" is the best, two are called "twin", and the last is unfinished."""
    folder = tmp_path_factory.mktemp("store")
    config = TrackingConfig(uri=f"sqlite:///{folder}/mlflow.db")
    ids = {}
    for key, name, elbo in (("a", "wide/'\"% \u00fc", -100.0), ("b", "twin", -120.0), ("c", "twin", -110.0)):
        with RunLock(folder / key):
            tracker = Tracker.start(config, run_name=name, folder=folder / key, tags={})
            tracker.log_metrics({"best/val_elbo": elbo}, 1)
            tracker.finish("KILLED" if key == "b" else "FINISHED")
            ids[key] = tracker.run_id
    return Runs(config, folder, ids)


def found(runs: Runs, ref: str, *, unfinished: bool = False) -> str:
    run_id = resolve(ref, runs.config, unfinished=unfinished).run_id
    return next(key for key, value in runs.ids.items() if value == run_id)


def test_each_kind_of_name_finds_its_run(runs: Runs) -> None:
    assert found(runs, "latest") == "c"
    assert found(runs, "latest", unfinished=True) == "b"
    assert found(runs, "best") == "a"
    assert found(runs, runs.ids["b"]) == "b"
    assert found(runs, runs.ids["b"][:12]) == "b"
    assert found(runs, "wide/'\"% \u00fc") == "a"
    assert found(runs, str(runs.folder / "c")) == "c"
    assert find_folder("best", runs.config) == runs.folder / "a"


def test_a_folder_may_be_given_relative_and_without_a_store(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs.folder)
    unreachable = TrackingConfig(uri="http://127.0.0.1:9")
    assert resolve("a", unreachable) == Reference(runs.ids["a"], runs.folder / "a", "a")


def test_a_run_folder_that_mlflow_never_knew_will_do(tmp_path: Path, runs: Runs) -> None:
    (tmp_path / "config.yaml").write_text("seed: 1\n")
    assert resolve(str(tmp_path), runs.config) == Reference(None, tmp_path, tmp_path.name)


def test_a_registered_models_alias_and_version_find_its_run(runs: Runs) -> None:
    client = Store.open(runs.config).client
    client.create_registered_model("digits")
    version = client.create_model_version("digits", str(runs.folder), run_id=runs.ids["b"])
    client.set_registered_model_alias("digits", "good", version.version)
    assert found(runs, "models:/digits@good") == "b"
    assert found(runs, f"models:/digits/{version.version}") == "b"
    for wrong in (
        "models:/digits@none",
        "models:/none@good",
        "models:/digits/99",
        "models:/digits",
        "models:x",
    ):
        with pytest.raises(InputError, match=r"^models:"):
            resolve(wrong, runs.config)


def test_an_ambiguous_name_lists_the_candidates(runs: Runs) -> None:
    with pytest.raises(InputError, match="twin: 2 runs are called so") as refused:
        resolve("twin", runs.config)
    assert runs.ids["b"][:8] in str(refused.value)
    assert runs.ids["c"][:8] in str(refused.value)


@pytest.mark.parametrize("ref", ["twinn", "ffff", "no/such/folder", "%", "_", "'", "x' OR '1'='1", "\u4e2d"])
def test_an_unknown_name_lists_what_there_is_in_one_line(ref: str, runs: Runs) -> None:
    with pytest.raises(InputError, match="no run folder, run id or run name; there is") as refused:
        resolve(ref, runs.config)
    assert "\n" not in str(refused.value)
    assert any(run_id[:8] in str(refused.value) for run_id in runs.ids.values())


def test_a_folder_that_is_no_runs_is_said(tmp_path: Path, runs: Runs) -> None:
    with pytest.raises(InputError, match="a folder, but not a run's"):
        resolve(str(tmp_path), runs.config)
    with pytest.raises(InputError, match="an empty run reference"):
        resolve(" ", runs.config)


def test_an_experiment_without_runs_is_said(runs: Runs) -> None:
    empty = TrackingConfig(uri=runs.config.uri, experiment="empty")
    for ref in ("latest", "best"):
        with pytest.raises(InputError, match="experiment 'empty' has no run"):
            resolve(ref, empty)


@pytest.fixture
def sweep(runs: Runs, tmp_path: Path) -> Iterator[Reference]:
    """A sweep that was started after the runs, its best metric above theirs, and a job that has not begun."""
    store = Store.open(runs.config)
    folder = tmp_path / "sweep"
    folder.mkdir()
    (folder / "plan.json").write_text("{}")
    tags = {"vae.kind": "sweep", "vae.folder": str(folder)}
    parent = store.create_run(store.experiment_id(), "sweeping", tags)
    store.client.log_metric(parent, "best/val_elbo", -1.0)
    store.client.set_terminated(parent, "KILLED")
    job = store.create_run(store.experiment_id(), "job", {"vae.kind": "run", "mlflow.parentRunId": parent})
    store.client.set_terminated(job, "SCHEDULED")
    yield Reference(parent, folder, "sweeping", "sweep")
    for run_id in (parent, job):
        store.client.delete_run(run_id)


def test_latest_and_best_are_runs_and_never_a_sweep_or_what_has_not_begun(runs: Runs, sweep: Reference) -> None:
    assert found(runs, "latest") == "c"
    assert found(runs, "best") == "a"
    assert found(runs, "latest", unfinished=True) == "b"


def test_a_sweep_is_found_by_those_who_want_one(runs: Runs, sweep: Reference) -> None:
    assert resolve("latest", runs.config, sweeps="only") == sweep
    assert resolve("latest", runs.config, sweeps="too") == sweep
    assert resolve("latest", runs.config, sweeps="only", unfinished=True) == sweep
    assert resolve("best", runs.config, sweeps="only").run_id == runs.ids["a"]
    assert resolve("sweeping", runs.config, sweeps="too") == sweep
    assert resolve(str(sweep.folder), runs.config, sweeps="too") == Reference(None, sweep.folder, "sweep", "sweep")
    assert find_folder("sweeping", runs.config, sweeps="too") == sweep.folder


def test_a_sweep_where_a_run_is_wanted_is_refused_in_one_line(runs: Runs, sweep: Reference) -> None:
    for ref in ("sweeping", str(sweep.folder), str(sweep.run_id)):
        with pytest.raises(
            InputError, match=r"is a sweep, not a run: name a job's folder, such as .*/sweep/0"
        ) as refused:
            resolve(ref, runs.config)
        assert "\n" not in str(refused.value)


def test_a_run_whose_folder_is_elsewhere_is_found_without_it(runs: Runs) -> None:
    store = Store.open(runs.config)
    run_id = store.create_run(store.experiment_id(), "moved", {"vae.folder": "/no/such/place", "vae.host": "x"})
    try:
        assert resolve(run_id, runs.config).folder is None
        with pytest.raises(InputError, match="no folder on this machine"):
            find_folder(run_id, runs.config)
    finally:
        store.client.delete_run(run_id)
