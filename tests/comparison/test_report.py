import math
from pathlib import Path

import pytest
from PIL import Image

from vae_experiments.comparison import pictures
from vae_experiments.comparison.report import write_report
from vae_experiments.comparison.rows import Compared

KEYS = ["architecture.latent_dim", "objective.kl_weight", "seed"]


def run(dim: int, weight: float, seed: int, status: str = "FINISHED", epochs: int = 3) -> Compared:
    history = []
    for epoch in range(1, epochs + 1):
        elbo = -150 + 3.0 * dim - weight - 40 / epoch + seed
        best = {
            "best/epoch": epoch,
            "best/val_elbo": elbo,
            "best/val_kl": 4.0 + dim,
            "best/val_reconstruction": -elbo - 4 - dim,
        }
        history.append({"val/elbo": elbo, "time/epoch_seconds": 1.0, **best})
    params = {"architecture.latent_dim": dim, "objective.kl_weight": weight, "seed": seed}
    return Compared(None, f"{dim}/{weight}", status, params, seed, history[-1] if history else {}, history)


GRID = [run(dim, weight, seed) for dim in (2, 8) for weight in (0.5, 4.0) for seed in (0, 1)]
PICTURES = ["by_parameter.png", "rate_distortion.png", "learning_curves.png", "parallel_coordinates.png"]


def test_every_file_is_there_and_can_be_looked_at(tmp_path: Path) -> None:
    files = write_report(GRID, KEYS, tmp_path / "new" / "here", title="A sweep", sheet=False)
    assert [path.name for path in files] == ["table.md", "table.csv", *PICTURES]
    assert {path.name for path in (tmp_path / "new" / "here").iterdir()} == {path.name for path in files}
    for path in files[2:]:
        with Image.open(path) as image:
            assert min(image.size) > 300
            low, high = image.convert("L").getextrema()
            assert low < 100 < high
    text = files[0].read_text()
    assert text.startswith("# A sweep\n")
    assert "## Mean and standard deviation over seeds" in text


@pytest.mark.parametrize(
    ("rows", "drawn"),
    [
        ([run(2, 1.0, 0, "SCHEDULED", epochs=0)], []),
        ([run(2, 1.0, 0)], ["rate_distortion.png", "learning_curves.png"]),
        ([run(2, 1.0, 0), run(2, 1.0, 1, "RUNNING", epochs=1)], ["rate_distortion.png", "learning_curves.png"]),
        ([run(2, 1.0, 0), run(8, 1.0, 0, "FAILED", epochs=0)], PICTURES[:3]),
        ([Compared(None, "nan", "FAILED", {KEYS[0]: 2}, metrics={"best/val_elbo": math.nan, "best/epoch": 1})], []),
    ],
)  # fmt: skip
def test_whatever_there_is_yet_is_drawn(
    rows: list[Compared], drawn: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = write_report(rows, KEYS, tmp_path, title="x", sheet=True)
    assert [path.name for path in files] == ["table.md", "table.csv", *drawn]
    assert "could not be drawn" not in caplog.text


def test_one_pictures_failure_does_not_lose_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("in a picture")

    monkeypatch.setattr(pictures, "rate_distortion", fail)
    files = write_report(GRID, KEYS, tmp_path, title="x", sheet=False)
    assert [path.name for path in files[2:]] == [name for name in PICTURES if name != "rate_distortion.png"]
    assert "rate_distortion could not be drawn: in a picture" in caplog.text


def test_a_report_written_again_takes_the_place_of_the_first(tmp_path: Path) -> None:
    write_report(GRID[:1], KEYS, tmp_path, title="first", sheet=False)
    write_report(GRID, KEYS, tmp_path, title="second", sheet=False)
    assert (tmp_path / "table.md").read_text().startswith("# second")
    assert len((tmp_path / "table.csv").read_text().splitlines()) == 1 + len(GRID)


def test_why_a_run_failed_is_in_the_table(tmp_path: Path) -> None:
    failed = Compared(None, "latent_dim=4", "FAILED", {}, reason="the loss is not finite")
    write_report([failed], [], tmp_path, title="x", sheet=False)
    assert "- latent_dim=4: the loss is not finite" in (tmp_path / "table.md").read_text()
