from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from vae_experiments.comparison.rows import Compared
from vae_experiments.runs.plan import Job, Plan
from vae_experiments.sweeps.parent_page import ParentPage, draw_preview
from vae_experiments.tracking.names import MAX_NOTE

KEY = "architecture.latent_dim"
PLAN = Plan(
    name="latent_dim | x",
    command=[f"{KEY}=2,8"],
    keys=[KEY],
    jobs=[Job(0, "latent_dim=2", {KEY: 2}, ""), Job(1, "latent_dim=8", {KEY: 8}, "")],
    at_once=None,
    launcher={},
    tracking={},
    on_failure="continue",
    code="",
)
ROWS = [
    Compared("aaa", "latent_dim=2", "FINISHED", {KEY: 2}, metrics={"best/val_elbo": -170.0, "best/epoch": 3}),
    Compared("bbb", "latent_dim=8", "RUNNING", {KEY: 8}, metrics={"best/val_elbo": -150.0, "best/epoch": 2}),
    Compared(None, "latent_dim=9", "SCHEDULED", {KEY: 9}),
]
TRAINING = "?workflowType=machine_learning"


@pytest.fixture
def page() -> ParentPage:
    return ParentPage(PLAN, "4", "ppp")


def test_it_says_how_the_sweep_stands_and_which_run_leads(page: ParentPage, tmp_path: Path) -> None:
    text = page.text(ROWS, tmp_path)
    best = rf"**Best:** [latent\_dim=8](#/experiments/4/runs/bbb{TRAINING}), val/elbo -150.00 nats per image"
    assert text.startswith(rf"{best} at epoch 2. **latent\_dim \| x**, over ")
    assert "1 of 3 runs finished, 1 running, 1 scheduled." in text.split("\n\n")[0]  # above the fold


def test_its_table_has_the_best_first_and_leads_to_the_runs(page: ParentPage, tmp_path: Path) -> None:
    lines = [line.replace("\u2003", " ") for line in page.text(ROWS, tmp_path).splitlines() if line.startswith("|")]
    assert lines[0].startswith(r"| run | latent\_dim | status | elbo |")
    assert lines[2].startswith(rf"| [latent\_dim=8](#/experiments/4/runs/bbb{TRAINING}) | 8 | RUNNING | -150.00 |")
    assert lines[3].startswith(rf"| [latent\_dim=2](#/experiments/4/runs/aaa{TRAINING}) | 2 | FINISHED | -170.00 |")
    assert lines[4].startswith(r"| latent\_dim=9 | 9 | SCHEDULED | - |")
    finished = page.text(ROWS[:1], tmp_path).replace("\u2003", " ")
    assert r"| run | latent\_dim | elbo |" in finished  # how each stands is in the opening then


def test_pictures_are_linked_once_they_are_there(page: ParentPage, tmp_path: Path) -> None:
    assert "artifacts" not in page.text(ROWS, tmp_path)
    Image.new("P", (1500, 600)).save(tmp_path / "contact_sheet.png")
    (tmp_path / "explorer.html").touch()
    draw_preview(tmp_path)
    with Image.open(tmp_path / "preview.png") as preview:
        assert preview.size == (760, 304)
    text = page.text(ROWS, tmp_path)
    assert text.startswith("[explorer](")  # what a page folds up does not answer
    assert f"[contact sheet](#/experiments/4/runs/ppp/artifacts/comparison/contact_sheet.png{TRAINING})" in text
    assert f"[explorer](#/experiments/4/runs/ppp/artifacts/comparison/explorer.html{TRAINING})" in text
    assert "![contact sheet](get-artifact?path=comparison%2Fpreview.png&run_uuid=ppp)" in text


def test_of_many_runs_the_best_are_shown(page: ParentPage, tmp_path: Path) -> None:
    many = [
        replace(ROWS[0], name=f"latent_dim={n}", metrics={"best/val_elbo": -n, "best/epoch": 1}) for n in range(1000)
    ]
    text = page.text(many, tmp_path)
    assert len(text) <= MAX_NOTE
    rows = [line for line in text.splitlines() if line.startswith("| [")]
    assert rows[0].startswith(r"| [latent\_dim=0]")
    assert f"and {1000 - len(rows)} more" in text
