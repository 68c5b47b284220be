"""vae reproduce: a published table, trained again and set beside what was printed."""

import json
import os
from pathlib import Path

import pytest
from support import TINY, Ended, Vae, run_process
from sweeping import QUICK

# Two latent sizes by two seeds, trained and evaluated for real; nobody has published it.
EXPERIMENT = """\
# @package _global_
defaults:
  - /experiment/smoke
architecture:
  filters: [4, 4, 4, 4]
  batch_size: 50
dataset:
  split: {train: 0.04, val: 0.02, test: 0.94}
trainer: {threads: 1, max_epochs: 3}
hooks: {gallery: null, models: null, unfolding: null}
evaluation:
  after_training: true
  what: [bound]
"""
TABLE = """\
title: A tiny table
source: nobody
experiment: tiny
across: runs
sweep:
  architecture.latent_dim: [2, 3]
  seed: [0, 1]
lines:
  - title: KL
    metric: test/kl
    published: [1000.0, null]
    tolerance: 0.5
  - title: minus the bound
    metric: test/elbo
    scale: -1.0
    published: [300.0, 300.0]
    spread: [1000.0, 1000.0]
    tolerance: 0.1
quick: [trainer.max_epochs=1]
notes: [A note of the table's.]
"""
SWEEP = ("--", QUICK, "sweep.jobs=2")


@pytest.fixture
def own(tmp_path: Path) -> str:
    """A folder of one's own choices with that table."""
    for name, text in {"experiment/tiny": EXPERIMENT, "table/tiny": TABLE}.items():
        path = tmp_path / "conf" / f"{name}.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return str(tmp_path / "conf")


def reproduce(own: str, *words: str) -> Ended:
    return run_process("reproduce", "tiny", *words, "tracking=off", "--config-dir", own, *SWEEP)


def test_a_table_is_trained_evaluated_and_set_beside_what_was_printed(own: str) -> None:
    Path("docs").mkdir()
    ended = reproduce(own)
    assert ended.status == 0, ended.err
    sweep = Path("multirun/tiny")
    page = (sweep / "published.md").read_text()
    assert (Path("docs/tables/tiny.md")).read_text() == page
    rows = {cells[0]: cells[1:] for line in page.splitlines() if (cells := [c.strip() for c in line.split("|")[1:-1]])}
    assert rows["latent_dim"] == ["2", "3"]
    kls = [json.loads((sweep / str(job) / "evaluation/test.json").read_text())["metrics"]["test/kl"] for job in (0, 1)]
    mean = sum(kls) / 2
    deviation = abs(kls[0] - kls[1]) / 2**0.5
    assert rows["KL: ours"][0] == f"{mean:.2f} +- {deviation:.2f}"
    assert rows["epochs trained"] == ["3", "3"]
    assert f"{mean - 1000:+.2f} *" in page
    assert "3 of 3 values" not in page
    assert "2 of 3 values are within tolerance" in page
    assert "KL at 2: off by" in page
    assert "A note of the table's." in page

    # Again: nothing is trained, what is missing or of another epoch is evaluated, the page comes out the same.
    (sweep / "1" / "evaluation/test.json").unlink()
    older = sweep / "2" / "evaluation/test.json"
    older.write_text(older.read_text().replace('"test/kl": ', '"test/kl": 9'))
    os.utime(older, (0, 0))
    other = sweep / "3" / "evaluation/test.json"
    other.write_text(other.read_text().replace('"label_draws": 20', '"label_draws": 1'))
    again = reproduce(own)
    assert again.status == 0, again.err
    assert "is finished" in again.err
    assert again.err.count("evaluating") == 3
    assert (sweep / "published.md").read_text() == page


def test_quick_says_that_it_is_and_stays_out_of_the_docs(own: str) -> None:
    Path("docs").mkdir()
    ended = reproduce(own, "--quick", "table.sweep.seed=[0]")
    assert ended.status == 0, ended.err
    page = Path("multirun/tiny-quick/published.md").read_text()
    assert "cut short by `trainer.max_epochs=1`" in page
    assert "| epochs trained | 1 | 1 |" in page
    assert not Path("docs/tables").exists()

    other = run_process("reproduce", "seed", "folder=multirun/tiny-quick", "tracking=off")
    assert other.status == 2
    assert "holds another sweep" in other.err
    whole = reproduce(own, "folder=multirun/tiny-quick", "table.sweep.seed=[0]")  # not as a quick one
    assert whole.status == 2
    assert "holds another sweep" in whole.err


def test_a_table_across_epochs_reads_their_histories(vae: Vae, tmp_path: Path) -> None:
    (tmp_path / "conf/table").mkdir(parents=True)
    (tmp_path / "conf/table/epochs.yaml").write_text(
        "{title: t, source: s, experiment: smoke, across: epochs, sweep: {seed: [7]},"
        " lines: [{title: bound, metric: val/elbo, published: [-300.0, -200.0, -100.0], tolerance: 1000.0}]}"
    )
    rest = [word for word in TINY if not word.startswith("experiment=")]
    ended = run_process(
        "reproduce", "epochs", "tracking=off", "--config-dir", str(tmp_path / "conf"),
        "--", QUICK, *rest, "hooks.gallery=null",
    )  # fmt: skip
    assert ended.status == 0, ended.err
    history = json.loads(Path("multirun/epochs/0/progress.json").read_text())["history"]
    page = Path("multirun/epochs/published.md").read_text()
    assert f"| bound: ours | {history[0]['val/elbo']:.2f} | {history[1]['val/elbo']:.2f} | - |" in page
    assert "2 of 2 values are within tolerance of the published ones; 1 more are not measured yet." in page
    assert "Other settings than the protocol's: `dataset/split=fractions" in page


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "must be named"),
        (("svae-tabel",), "svae-table"),
        (("seed", "+table.sweep={optimizer.lr:[1.0]}"), "a table across runs varies one key"),
        (
            ("seed", "table.lines=[{title:t,metric:m,published:[1.0],spread:[0.1,0.2],tolerance:1.0}]"),
            "1 published values and 2 deviations for 1 columns",
        ),
    ],
)
def test_a_table_that_cannot_be_is_refused_in_one_line(vae: Vae, words: tuple[str, ...], said: str) -> None:
    ended = vae("reproduce", *words)
    assert ended.status == 2
    assert said in ended.err
    assert len(ended.err.splitlines()) == 1
