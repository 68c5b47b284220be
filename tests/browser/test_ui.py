import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pytest
from browsing import Lab, serving
from mlflow.entities import Run

from vae_experiments import load
from vae_experiments.tracking.views import run_page

if TYPE_CHECKING:
    from playwright.sync_api import Page

Keep = Callable[[str], None]


def parent_and_jobs(lab: Lab) -> tuple[Run, list[Run]]:
    """The sweep's own run, and its jobs' runs, the best first."""
    runs = lab.store.search_runs(["1"], order_by=["metrics.`best/val_elbo` DESC"])
    (parent,) = [run for run in runs if run.data.tags["vae.kind"] == "sweep"]
    jobs = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(jobs) == 4
    return parent, jobs


def wait_for_rows(page: "Page", count: int) -> None:
    page.wait_for_function(f"() => /(^|\\s){count} matching runs/.test(document.body.innerText)")


def rows_in_order(page: "Page", names: list[str]) -> list[str]:
    """Those names, from the top of the page down."""
    boxes = [page.get_by_role("link", name=name, exact=True).first.bounding_box() for name in names]
    tops = {name: box["y"] for name, box in zip(names, boxes, strict=True) if box is not None}
    return sorted(tops, key=lambda name: tops[name])


def wait_for_charts(page: "Page", count: int) -> None:
    """Until so many charts have points, lines or bars in them."""
    drawn = "document.querySelectorAll('.js-plotly-plot .trace, .js-plotly-plot .point').length"
    page.wait_for_function(
        f"() => document.querySelectorAll('.js-plotly-plot').length >= {count} && {drawn} >= {count}"
    )


def test_the_link_opens_on_the_sweep_with_its_charts_drawn(link: str, lab: Lab, page: "Page", keep: Keep) -> None:
    _, jobs = parent_and_jobs(lab)
    names = [str(job.info.run_name) for job in jobs]
    page.goto(link)
    wait_for_rows(page, 4)
    wait_for_charts(page, 4)
    keep("charts")
    assert rows_in_order(page, names) == names
    text = page.inner_text("body")
    assert "Parallel Coordinates" in text
    assert "best/val_kl vs. best/val_reconstruction" in text


def test_the_last_chart_shows_the_manifolds_themselves(link: str, lab: Lab, page: "Page", keep: Keep) -> None:
    page.set_viewport_size({"width": 1400, "height": 1800})
    page.goto(link)
    seen = "[...document.querySelectorAll('img')].filter(i => i.src.includes('manifold') && i.naturalWidth > 50)"
    page.wait_for_function(f"() => {seen}.length > 0")
    keep("manifolds")
    tops = page.evaluate(f"() => {seen}.map(i => i.getBoundingClientRect().bottom)")
    assert min(tops) < 1800


def test_its_table_shows_the_columns_that_matter(link: str, lab: Lab, page: "Page", keep: Keep) -> None:
    _, jobs = parent_and_jobs(lab)
    page.goto(link.replace("compareRunsMode=CHART", "compareRunsMode=TABLE"))
    wait_for_rows(page, 4)
    keep("table")
    names = [str(job.info.run_name) for job in jobs]
    assert rows_in_order(page, names) == names
    text = page.inner_text("body")
    columns = (
        "architecture.latent_dim",
        "objective.kl_weight",
        "best/val_elbo",
        "best/val_kl",
        "best/active_units",
    )
    assert [name for name in columns if name not in text] == []


def test_a_run_s_page_tells_its_story(base: str, lab: Lab, page: "Page", keep: Keep) -> None:
    (run,) = lab.store.search_runs(["1"], "attributes.run_name = 'alone'")
    page.goto(f"{base}/#/experiments/1/runs/{run.info.run_id}")
    table = page.locator("table", has_text="at the best epoch").first
    table.wait_for()
    keep("run")
    assert "nats per image" in table.inner_text()
    assert f"{run.data.metrics['best/val_elbo']:.2f}" in table.inner_text()
    text = page.inner_text("body")
    assert "Diagnosis: " in text
    assert "test/active_units" in text  # evaluated afterwards
    assert re.search(r"architecture\.latent_dim\s+3\s+2", text)  # differs from the default
    assert "vae train experiment=smoke" in text
    assert f"vae resume {lab.run.relative_to(lab.folder)}" in text


def test_a_sweep_s_page_has_its_table_and_its_pictures(base: str, lab: Lab, page: "Page", keep: Keep) -> None:
    parent, jobs = parent_and_jobs(lab)
    page.goto(f"{base}/#/experiments/1/runs/{parent.info.run_id}")
    sheet = "document.querySelector('img[src*=\"preview\"]')"  # MLflow drops the text beside a picture
    page.wait_for_function(f"() => {sheet} && {sheet}.naturalWidth > 100")
    keep("sweep")
    assert "4 of 4 runs finished" in page.inner_text("body")
    best = page.get_by_role("link", name=str(jobs[0].info.run_name), exact=True).first
    assert str(jobs[0].info.run_id) in str(best.get_attribute("href"))


@pytest.mark.parametrize("leads_to", ["best run", "explorer", "contact sheet"])
def test_what_a_sweep_s_page_leads_to_answers_before_it_is_unfolded(
    leads_to: str, base: str, lab: Lab, page: "Page"
) -> None:
    parent, jobs = parent_and_jobs(lab)
    page.goto(base + run_page("1", str(parent.info.run_id)))
    name = str(jobs[0].info.run_name) if leads_to == "best run" else leads_to
    with page.expect_popup() as opened:
        page.get_by_role("link", name=name, exact=True).first.click(
            timeout=10_000
        )  # fails where something lies over it
    there = jobs[0].info.run_id if leads_to == "best run" else "/artifacts/comparison/"
    opened.value.wait_for_function(f"() => location.href.includes('{there}')")


def test_the_explorer_works_in_a_run_s_artifacts(base: str, lab: Lab, page: "Page", keep: Keep) -> None:
    (run,) = lab.store.search_runs(["1"], "attributes.run_name = 'alone'")
    page.goto(base + run_page("1", str(run.info.run_id), "figures/explorer.html"))
    page.wait_for_function("() => [...document.querySelectorAll('iframe')].length > 0")
    frame = page.locator("iframe").content_frame
    frame.locator(".plane").first.wait_for()
    frame.locator("body").evaluate("explorer.ready.then(() => true)")
    assert frame.locator("body").evaluate("origin") == "null"  # no storage, no requests
    keep("explorer-in-mlflow")
    pictures = []
    for share in (0.3, 0.7):
        frame.locator(".plane").first.hover(position={"x": 200 * share, "y": 200 * share})
        page.wait_for_timeout(500)
        z, levels = frame.locator("body").evaluate(
            "() => { const m = explorer.models[0], z = explorer.latent(m, explorer.state.peek ?? explorer.state.set);"
            "const c = document.querySelector('.pair canvas');"
            "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
            "return [Array.from(z), Array.from(d).filter((_, i) => i % 4 === 0)] }"
        )
        expected = np.rint(load(str(lab.run)).decode(np.array([z], np.float32)) * 255)
        assert np.abs(expected.ravel() - levels).max() <= 1
        pictures.append(levels)
    assert pictures[0] != pictures[1]


@pytest.mark.parametrize("kind", ["run", "sweep"])
def test_nothing_of_a_description_is_cut_off(kind: str, base: str, lab: Lab, page: "Page", keep: Keep) -> None:
    parent, _ = parent_and_jobs(lab)
    (alone,) = lab.store.search_runs(["1"], "attributes.run_name = 'alone'")
    page.goto(base + run_page("1", str((parent if kind == "sweep" else alone).info.run_id)))
    page.locator("table", has_text="elbo" if kind == "sweep" else "at the best epoch").first.wait_for()
    if kind == "sweep":
        page.wait_for_function("() => document.querySelector('img[src*=\"preview\"]')?.naturalWidth > 100")
    keep(f"{kind}-whole")
    cut = page.evaluate(
        "() => { const note = document.querySelector('table').parentElement; let edge = innerWidth;"
        "for (let e = note; e; e = e.parentElement) if (getComputedStyle(e).overflowX !== 'visible')"
        "  edge = Math.min(edge, e.getBoundingClientRect().left + e.clientLeft + e.clientWidth);"
        "return [...note.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right > edge + 1)"
        "  .map(e => e.tagName + ' ' + e.textContent.slice(0, 60)) }"
    )
    assert cut == []
    about = page.get_by_text("About this run").first.bounding_box()
    assert about is not None
    assert about["x"] + 250 <= page.evaluate("innerWidth")  # its names and how their values begin


@pytest.fixture(scope="module")
def plain_link(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a store that takes no tags of experiments."""
    folder = tmp_path_factory.mktemp("refusing")
    database = folder / "mlflow.db"
    with closing(sqlite3.connect(lab.folder / "mlflow.db")) as whole, closing(sqlite3.connect(database)) as copy:
        whole.backup(copy)
        copy.execute("DELETE FROM experiment_tags")
        for moment in ("INSERT", "UPDATE"):
            copy.execute(
                f"CREATE TRIGGER refuse_{moment} BEFORE {moment} ON experiment_tags "
                "BEGIN SELECT RAISE(ABORT, 'read only'); END"
            )
        copy.commit()
    with serving(folder) as link:
        yield link
    shutil.rmtree(folder)


def test_where_the_saved_view_is_refused_the_link_still_shows_the_runs(
    plain_link: str, lab: Lab, page: "Page", keep: Keep
) -> None:
    assert "viewStateShareKey" not in plain_link
    _, jobs = parent_and_jobs(lab)
    page.goto(plain_link)
    wait_for_rows(page, 4)
    wait_for_charts(page, 3)
    keep("plain")
    names = [str(job.info.run_name) for job in jobs]
    assert rows_in_order(page, names) == names
