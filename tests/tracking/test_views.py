import json
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from vae_experiments.tracking import views
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.tracking.store import Store
from vae_experiments.tracking.views import Shown, experiment_page, plain_page, read_tag, run_page, saved_page

SWEEP = Shown("1", "0123abc", ["architecture.latent_dim", "objective.kl_weight"], 3)
TAG = f"mlflow.sharedViewState.{SWEEP.key}"


def query(page: str) -> dict[str, list[str]]:
    """What stands behind the question mark in the part of the address that the page itself reads."""
    return parse_qs(urlsplit(page.removeprefix("/#")).query)


@pytest.fixture
def store(config: TrackingConfig) -> Store:
    opened = Store.open(config)
    assert opened.experiment_id() == SWEEP.experiment_id
    return opened


def saved(store: Store) -> dict[str, str]:
    tags: dict[str, str] = store.client.get_experiment(SWEEP.experiment_id).tags
    return {name: value for name, value in tags.items() if name.startswith("mlflow.sharedViewState.")}


def test_a_saved_view_holds_filter_order_columns_and_charts(store: Store) -> None:
    page = saved_page(store, SWEEP)
    # A filter or an order in the link would make MLflow pass over the view.
    assert query(page) == {
        "workflowType": ["machine_learning"],
        "compareRunsMode": ["CHART"],
        "viewStateShareKey": [SWEEP.key],
    }
    tag = json.loads(saved(store)[TAG])
    assert tag["createdAt"] > 1_600_000_000_000  # milliseconds
    state = read_tag(saved(store)[TAG])
    assert state["searchFilter"] == "tags.`mlflow.parentRunId` = '0123abc'"
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`best/val_elbo`", False)
    assert state["selectedColumns"][:4] == [
        "params.`architecture.latent_dim`",
        "params.`objective.kl_weight`",
        "metrics.`best/val_elbo`",
        "metrics.`best/val_kl`",
    ]
    sections = {section["uuid"] for section in state["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} <= sections
    assert len({chart["uuid"] for chart in state["compareRunCharts"]}) == len(state["compareRunCharts"])


def test_a_view_of_the_same_runs_takes_the_old_one_s_place(store: Store) -> None:
    for epochs in (3, 4):
        saved_page(store, Shown("1", "0123abc", [], epochs))
    assert list(saved(store)) == [TAG]
    (picture,) = [chart for chart in read_tag(saved(store)[TAG])["compareRunCharts"] if chart["type"] == "IMAGE"]
    assert picture["step"] == 4


def refuse(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        database.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON experiment_tags BEGIN SELECT RAISE(ABORT, 'read only'); END"
        )


@pytest.mark.parametrize("trouble", ["refused", "other version", "too long"])
def test_where_no_view_is_saved_the_plain_link_filters_and_sorts(
    store: Store, trouble: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shown = SWEEP
    if trouble == "refused":
        refuse(tmp_path)
    elif trouble == "other version":
        monkeypatch.setattr(views, "VERSION", "4.0.0")
    else:
        monkeypatch.setattr(views, "_LONGEST", 100)
    page = saved_page(store, shown)
    assert page == plain_page(shown)
    assert query(page) == {
        "workflowType": ["machine_learning"],
        "compareRunsMode": ["CHART"],
        "searchFilter": ["tags.`mlflow.parentRunId` = '0123abc'"],
        "orderByKey": ["metrics.`best/val_elbo`"],
        "orderByAsc": ["false"],
    }
    assert not saved(store)
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]  # nothing is wrong


def test_without_a_sweep_all_runs_are_shown() -> None:
    assert query(plain_page(Shown("7")))["searchFilter"] == ["tags.`vae.kind` = 'run'"]


def test_addresses_of_pages() -> None:
    assert experiment_page("7") == "/#/experiments/7?workflowType=machine_learning"
    assert run_page("7", "abc") == "/#/experiments/7/runs/abc?workflowType=machine_learning"
    picture = "/#/experiments/7/runs/abc/artifacts/comparison/a%20b.png?workflowType=machine_learning"
    assert run_page("7", "abc", "comparison/a b.png") == picture
