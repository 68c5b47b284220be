import csv
import io
import math
import statistics

import pytest

from vae_experiments.comparison.rows import Compared
from vae_experiments.comparison.screen import show
from vae_experiments.comparison.table import Table, run_table, summary_table

KEYS = ["architecture.latent_dim", "objective.kl_weight", "seed"]


def row(dim: int, weight: float, seed: int, elbo: float | None, status: str = "FINISHED", epoch: int = 7) -> Compared:
    metrics = {} if elbo is None else {
        "best/val_elbo": elbo, "best/epoch": float(epoch), "best/val_reconstruction": -elbo - 5, "best/val_kl": 5.0,
        "val/elbo": -999.0, "time/images_per_second": 1234.6,
    }  # fmt: skip
    history = [{"time/epoch_seconds": 1800.0}] * 3 if elbo is not None else []
    params = {"architecture.latent_dim": dim, "objective.kl_weight": weight, "seed": seed}
    return Compared(f"{dim}{seed:031}", f"dim={dim}", status, params, seed, metrics, history)


ROWS = [
    row(2, 0.5, 0, -150.0), row(2, 0.5, 1, -154.0), row(2, 0.5, 2, -146.0),
    row(8, 0.5, 0, -120.0), row(8, 0.5, 1, -100.0, "RUNNING"), row(8, 0.5, 2, None, "FAILED"),
    row(8, 1e-5, 0, math.nan), row(16, 1.0, 0, None, "SCHEDULED"),
]  # fmt: skip


def cells(table: Table, name: str) -> list[object]:
    (column,) = [column for column in table.columns if column.name == name]
    return list(column.cells)


def test_what_varied_comes_first_and_the_best_value_not_the_last_is_shown() -> None:
    table = run_table(ROWS, KEYS)
    assert [column.title for column in table.columns] == [
        "latent_dim", "kl_weight", "seed", "status", "elbo", "epoch", "recon.", "kl", "images/s", "time", "run", "id",
    ]  # fmt: skip
    assert table.texts()[0] == [
        "8", "0.5", "1", "RUNNING", "-100.00", "7", "95.00", "5.00", "1235", "1:30:00", "dim=8", "80000000",
    ]  # fmt: skip
    assert cells(table, "best/val_elbo")[:5] == [-100.0, -120.0, -146.0, -150.0, -154.0]


def test_no_run_is_dropped_whatever_became_of_it() -> None:
    table = run_table(ROWS, KEYS)
    assert len(table) == len(ROWS)
    nan, *missing = table.texts()[-3:]
    assert nan[3:5] == ["FINISHED", "NaN"]
    assert [line[3:5] for line in missing] == [["FAILED", "-"], ["SCHEDULED", "-"]]
    assert nan[1] == "1e-05"


def test_repeats_are_summed_up_over_finished_runs_with_their_sample_deviation() -> None:
    table = summary_table(ROWS, KEYS)
    assert table is not None
    first, second = table.texts()[:2]
    assert first[:5] == ["8", "0.5", "1/3", "-120.00", "-"]
    assert second[:3] == ["2", "0.5", "3"]
    assert cells(table, "val/elbo mean")[1] == pytest.approx(-150)
    assert cells(table, "val/elbo sd")[1] == pytest.approx(statistics.stdev([-150, -154, -146]))
    assert table.texts()[2][3:5] == ["NaN", "NaN"]
    assert summary_table([r for r in ROWS if r.seed == 0], KEYS) is None


def test_the_csv_has_full_names_all_digits_and_tells_nan_from_missing() -> None:
    exact = [row(2, 1 / 3, 0, -100 / 3), row(4, 1.0, 0, math.nan), row(8, 1.0, 0, None, "FAILED")]
    lines = list(csv.DictReader(io.StringIO(run_table(exact, KEYS).csv())))
    assert float(lines[0]["best/val_elbo"]) == -100 / 3
    assert float(lines[0]["objective.kl_weight"]) == 1 / 3
    assert [line["best/val_elbo"] for line in lines[1:]] == ["NaN", ""]
    assert [line["best/epoch"] for line in lines] == ["7", "7", ""]
    assert lines[2]["status"] == "FAILED"


def test_the_markdown_survives_what_people_type() -> None:
    odd = Compared(None, "a | b\nc", "FINISHED", {"x": "p|q"}, metrics={"best/val_elbo": -1.0})
    lines = run_table([odd], ["x"]).markdown().splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("| p\\|q | FINISHED | -1.00 |")
    assert "a \\| b c" in lines[2]


def test_piped_the_table_is_whole_and_plain(capsys: pytest.CaptureFixture[str]) -> None:
    show(run_table(ROWS, KEYS), most=50)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    header, first, *_ = out.splitlines()
    assert header.split() == [column.title for column in run_table(ROWS, KEYS).columns]
    assert first.split()[-1] == "80000000"
    assert len(out.splitlines()) == 1 + len(ROWS)


def test_rows_beyond_what_fits_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    show(run_table(ROWS, KEYS), most=3)
    assert "and 5 more" in capsys.readouterr().out
