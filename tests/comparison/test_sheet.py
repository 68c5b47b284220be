import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from support import BARE

from vae_experiments.cli import main
from vae_experiments.comparison import sheet as module
from vae_experiments.comparison.folders import run_row, sweep_rows
from vae_experiments.comparison.rows import Compared
from vae_experiments.comparison.sheet import IMAGES, draw_sheet, latent_points, with_seed
from vae_experiments.figures.contact_sheet import Band
from vae_experiments.runs.trained import load_run
from vae_experiments.tracking.config import TrackingConfig

OFF = TrackingConfig(enabled=False)
DIM = ["architecture.latent_dim"]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[Band], str]]:
    """What sheets were made of, each of them drawn all the same."""
    seen: list[tuple[list[Band], str]] = []
    real = module.contact_sheet

    def watch(bands: list[Band], note: str) -> object:
        seen.append((bands, note))
        return real(bands, note)

    monkeypatch.setattr(module, "contact_sheet", watch)
    return seen


def draw(rows: list[Compared]) -> object:
    return draw_sheet(rows, DIM, [row.name.split(" seed")[0] for row in rows], "val/elbo", OFF)


def other(*overrides: str) -> Path:
    """The folder of a run on other data."""
    folder = Path("outputs") / "other"
    assert main(["train", *BARE, "trainer.max_epochs=1", f"hydra.run.dir={folder}", *overrides]) == 0
    return folder.absolute()


def test_every_run_is_a_row_of_what_its_best_weights_make_of_the_same_things(
    sweep: Path, drawn: list[tuple[list[Band], str]]
) -> None:
    rows = sweep_rows(sweep)[1]
    assert draw(rows) is not None
    (((band,), note),) = drawn
    assert {strip.label for strip in band.strips} == {
        "latent_dim=2, seed 0", "latent_dim=2, seed 1", "latent_dim=3, seed 0",
    }  # fmt: skip
    assert band.label == "originals (validation)"
    assert "validation images" in note
    run = load_run(str(sweep / "2"), OFF)
    vae = run.vae()
    images = run.data().dataset.images[run.data().parts.val]  # the test part is for the end, and not looked at here
    assert len(run.data().parts.test)
    (strip,) = [strip for strip in band.strips if strip.label == "latent_dim=3, seed 0"]
    for original, made in zip(band.originals, strip.reconstructions, strict=True):
        assert (images == original).all(axis=(1, 2, 3)).any()
        with torch.no_grad():
            x = torch.from_numpy(original[None]).float() / 255
            np.testing.assert_allclose(vae.images(vae.encode(x).mean)[0].numpy(), made, atol=1e-4)


def test_the_latent_points_are_the_same_draws_whatever_the_latent_dimension(sweep: Path) -> None:
    two, three = (latent_points(load_run(str(sweep / number), OFF).vae()) for number in ("0", "2"))
    assert two.shape == (IMAGES, 2)
    assert torch.equal(three[:, :2], two)


def test_runs_on_other_images_have_originals_of_their_own(sweep: Path, drawn: list[tuple[list[Band], str]]) -> None:
    binary = other("dataset.binarization=threshold")
    assert draw([*sweep_rows(sweep)[1], run_row(binary)]) is not None
    ((bands, _),) = drawn
    assert sorted(len(band.strips) for band in bands) == [1, 3]
    (alone,) = [band for band in bands if len(band.strips) == 1]
    assert set(np.unique(alone.originals)) == {0, 255}


def test_runs_on_images_of_another_shape_are_named_and_left_out(
    sweep: Path, drawn: list[tuple[list[Band], str]], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "small.npz", images=rng.integers(0, 255, (60, 8, 8, 3), dtype=np.uint8))
    fractions = ["dataset.split.train=0.5", "dataset.split.val=0.3", "dataset.split.test=0.2"]
    small = other("dataset=npz", f"dataset.path={tmp_path}/small.npz", *fractions)
    rows = [*sweep_rows(sweep)[1], run_row(small)]
    assert draw(rows) is not None
    ((bands, note),) = drawn
    assert "Images of another shape: " in note
    assert len({band.originals.shape[1:] for band in bands}) == 1


def test_a_damaged_checkpoint_costs_its_own_row_alone(
    sweep: Path, tmp_path: Path, drawn: list[tuple[list[Band], str]]
) -> None:
    copy = Path(shutil.copytree(sweep, tmp_path / "grid"))
    (copy / "1" / "checkpoints" / "best.ckpt").write_bytes(b"short")
    assert draw(sweep_rows(copy)[1]) is not None
    (((band,), note),) = drawn
    assert len(band.strips) == 2
    assert "No checkpoint could be read of: latent_dim=2." in note


def test_too_many_runs_are_cut_to_the_best_and_that_is_said(
    sweep: Path, drawn: list[tuple[list[Band], str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROWS", 2)
    assert draw(sweep_rows(sweep)[1]) is not None
    (((band,), note),) = drawn
    assert len(band.strips) == 2  # one of each setting
    assert {strip.label.split(",")[0] for strip in band.strips} == {"latent_dim=2", "latent_dim=3"}
    assert "The best 2 of 3 runs, the best seed of each setting." in note


@pytest.mark.parametrize(
    ("label", "seed", "expected"),
    [
        ("seed=1", 1, "seed=1"),
        ("latent_dim=2, seed=1", 1, "latent_dim=2, seed=1"),
        ("objective seed", 1, "objective seed, seed 1"),  # a value, not the seed
        ("seed=10", 1, "seed=10, seed 1"),
        ("latent_dim=2", None, "latent_dim=2"),
    ],
)
def test_a_label_says_the_seed_once(label: str, seed: int | None, expected: str) -> None:
    assert with_seed(label, Compared(None, "run", "FINISHED", {}, seed=seed)) == expected


def test_without_any_checkpoint_there_is_no_sheet() -> None:
    assert draw([Compared(None, "a", "SCHEDULED", {})]) is None
