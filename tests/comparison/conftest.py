"""A small sweep as its controller leaves it."""

import json
from pathlib import Path

import pytest
from support import BARE

from vae_experiments.cli import main
from vae_experiments.runs.plan import Job, Plan
from vae_experiments.runs.sweep_folder import SweepFolder
from vae_experiments.training.checkpoints import load_checkpoint

DIM = "architecture.latent_dim"


@pytest.fixture(scope="session")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of three jobs that ran without MLflow and of a fourth that has not begun.

    The first of them left a progress.json.
    """
    work = tmp_path_factory.mktemp("sweep")
    folder = work / "multirun" / "grid"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(work)
        for number, (dim, seed) in enumerate([(2, 0), (2, 1), (3, 0)]):
            settings = [f"{DIM}={dim}", f"seed={seed}", f"hydra.run.dir={folder / str(number)}"]
            assert main(["train", *BARE, *settings]) == 0
    content = load_checkpoint(folder / "0" / "checkpoints" / "last.ckpt")
    progress = {"epoch": 2, "max_epochs": 2, "batch": 0, "steps_per_epoch": 4, "loss": None, "seconds_left": 0.0}
    (folder / "0" / "progress.json").write_text(json.dumps({**progress, "history": content["state"]["history"]}))
    jobs = [
        Job(number, f"latent_dim={dim} seed={seed}", {DIM: dim, "seed": seed}, "")
        for number, (dim, seed) in enumerate([(2, 0), (2, 1), (3, 0), (3, 1)])
    ]
    SweepFolder(folder).write_plan(Plan("a grid", [], [DIM, "seed"], jobs, None, {"_target_": "x"}, {}, "continue", ""))
    return folder
