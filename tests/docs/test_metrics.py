"""docs/metrics.md describes what is logged, all of it and nothing else."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest
from support import BARE, only_folder, results, run_process

import vae_experiments.objectives as objectives
from vae_experiments.objectives import Objective, Weight

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
# Not of a run with TINY's four steps: the samples, whose extractor takes half a minute to train.
OF_SAMPLES = {f"test/{name}" for name in ("frechet", "precision", "recall", "density", "coverage")}


def described() -> list[str]:
    """The metrics of the first columns; <k> and <n> stand for a setting."""
    cells = re.findall(r"^\| (`[^|]*?) \|", PAGE.read_text(), re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


BY_HOOKS = {"best/active_units", "time/to_target_seconds"}  # of the diagnosis, and of a run with a target


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """What a small run logs, and its evaluation."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("logged"))
        ended = run_process(
            "train", *BARE, "dataset.binarization=static", "objective=iwae", "evaluation.after_training=true",
            "evaluation.what=[bound,likelihood,aggregate,latents]", "evaluation.iw_samples=3",
            "evaluation.labelled=[20]", "evaluation.label_draws=2", "dataset.split.val=0.91", "dataset.split.test=0.05",
        )  # fmt: skip
        assert ended.status == 0, ended.err
        folder = only_folder()
        evaluated = json.loads((folder / "evaluation" / "test.json").read_text())["metrics"]
        return {*results(folder)[-1], "time/epoch_seconds", "time/images_per_second", *BY_HOOKS, *evaluated}


def test_every_metric_that_is_logged_is_described(logged: set[str]) -> None:
    general = {re.sub(r"accuracy_\d+", "accuracy_<n>", re.sub(r"iw\d+", "iw<k>", name)) for name in logged}
    assert general <= set(described())


def test_nothing_is_described_that_is_not_logged(logged: set[str]) -> None:
    general = {re.sub(r"accuracy_\d+", "accuracy_<n>", re.sub(r"iw\d+", "iw<k>", name)) for name in logged}
    kinds = [each for each in vars(objectives).values() if isinstance(each, type) and issubclass(each, Objective)]
    terms = {f"{part}/{term}" for kind in kinds for term in kind.others for part in ("train", "val")}
    weights = {f"objective/{field.name}" for kind in kinds for field in fields(kind) if field.type == Weight}
    assert set(described()) == general | terms | weights | OF_SAMPLES


def test_every_metric_is_described_once_with_its_unit() -> None:
    names = described()
    assert len(names) == len(set(names))
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert all(len(re.split(r"(?<!\\)\|", row)) == 6 for row in rows)
