from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow.entities import Metric, Param

from vae_experiments.comparison.gather import DRAWN, gather
from vae_experiments.errors import InputError
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.tracking.store import Store

OFF = TrackingConfig(enabled=False)


@dataclass
class Known:
    config: TrackingConfig
    store: Store
    parent: str
    alone: str


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    """A sweep of four in a store: two settings, two seeds; and a run of its own, and a sweep's parent alone."""
    config = TrackingConfig(uri=f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db")
    store = Store.open(config)
    experiment = store.experiment_id()

    def run(name: str, dim: int, seed: int, elbos: list[float], tags: dict[str, str]) -> str:
        run_id = store.create_run(experiment, name, tags)
        rows = [
            {"val/elbo": elbo, "best/val_elbo": max(elbos[:epoch]), "best/epoch": elbos.index(max(elbos[:epoch])) + 1,
             "val/kl": float(epoch), "val/reconstruction": 100.0 + epoch, "time/epoch_seconds": 2.0}
            for epoch, elbo in enumerate(elbos, start=1)
        ]  # fmt: skip
        metrics = [Metric(k, v, 1000 * e, e) for e, row in enumerate(rows, start=1) for k, v in row.items()]
        params = {"architecture.latent_dim": str(dim), "seed": str(seed), "name": name, "figures.seed": str(dim)}
        store.client.log_batch(run_id, metrics, [Param(k, v) for k, v in params.items()])
        store.client.set_terminated(run_id)
        return run_id

    alone = run("alone", 16, 0, [-90.0], {"vae.kind": "run"})
    parent = store.create_run(experiment, "big sweep", {"vae.kind": "sweep"})
    for dim in (2, 4):
        for seed in (0, 1):
            elbos = [-200.0, -150.0 + dim + seed, -160.0]
            run(f"latent_dim={dim}", dim, seed, elbos, {"vae.kind": "run", "mlflow.parentRunId": parent})
    store.client.set_terminated(parent)
    return Known(config, store, parent, alone)


def test_a_parent_stands_for_its_children(known: Known) -> None:
    for ref in ([], ["latest"], ["big sweep"], [known.parent], [known.parent[:10]]):
        found = gather(ref, known.config, metric="val/elbo", limit=100)
        assert [row.value("val/elbo") for row in found.rows] == [-145.0, -146.0, -147.0, -148.0]
        assert found.keys == ["architecture.latent_dim", "seed"]
        assert found.title == "big sweep"
        assert found.sweep is not None
        assert found.sweep.run_id == known.parent


def test_histories_tell_what_the_best_epochs_parts_were(known: Known) -> None:
    (best, *_) = gather([], known.config, metric="val/elbo", limit=100).rows
    assert [epoch["val/elbo"] for epoch in best.history] == [-200.0, -145.0, -160.0]
    assert (best.best_epoch, best.value("val/kl"), best.value("val/reconstruction")) == (2, 2.0, 102.0)
    assert best.seconds == 6.0


def test_any_runs_can_be_compared_and_each_is_one_row(known: Known) -> None:
    found = gather(["alone", known.parent, known.alone], known.config, metric="val/elbo", limit=100)
    assert [row.params["architecture.latent_dim"] for row in found.rows] == [16, 4, 4, 2, 2]
    assert found.sweep is None
    only = gather(["alone"], known.config, metric="val/elbo", limit=100)
    assert (len(only.rows), only.keys, only.title) == (1, [], "alone")


def test_all_is_the_experiment_without_the_parents(known: Known) -> None:
    found = gather(["all"], known.config, metric="val/elbo", limit=100)
    assert len(found.rows) == 5
    assert found.title == "experiment vae"
    assert len(gather(["all"], known.config, metric="val/elbo", limit=3).rows) <= 3


def test_folders_and_runs_of_the_store_go_together(known: Known, sweep: Path) -> None:
    found = gather([str(sweep), str(sweep / "0"), "alone"], known.config, metric="val/elbo", limit=100)
    assert [row.name for row in found.rows].count("latent_dim=2 seed=0") == 1
    assert len(found.rows) == 5
    assert "architecture.latent_dim" in found.keys


def test_a_sweeps_folder_needs_no_store(sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = TrackingConfig(uri="http://127.0.0.1:9")
    for ref, tracking in (([str(sweep)], nowhere), ([str(sweep)], OFF)):
        found = gather(ref, tracking, metric="val/elbo", limit=100)
        assert (found.title, found.keys, len(found.rows)) == ("a grid", ["architecture.latent_dim", "seed"], 4)
    monkeypatch.chdir(sweep.parents[1])
    assert gather([], OFF, metric="val/elbo", limit=100).title == "a grid"  # the newest under multirun/


def test_nothing_to_compare_is_said(known: Known) -> None:
    with pytest.raises(InputError, match="no sweep under multirun"):
        gather([], OFF, metric="val/elbo", limit=100)
    empty = TrackingConfig(uri=known.config.uri, experiment="empty")
    with pytest.raises(InputError, match="has no sweep yet"):
        gather([], empty, metric="val/elbo", limit=100)
    with pytest.raises(InputError, match="all: has no runs to compare yet"):
        gather(["all"], empty, metric="val/elbo", limit=100)
    assert DRAWN >= 50  # fifty jobs all have their curves
