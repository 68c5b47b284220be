"""This project, by its own way in: the config composed and run as `vae train` does it, without MLflow and pictures."""

import tempfile
from pathlib import Path

import hydra
import numpy as np
from peers.contestant import BETAS, EPSILON, LEARNING_RATE, Task, answer

from vae_experiments.config.hydra_app import to_plain
from vae_experiments.config.paths import conf_dir
from vae_experiments.config.resolvers import register_resolvers
from vae_experiments.runs.runner import start
from vae_experiments.sweeps.compose import ABOUT_THE_SWEEP
from vae_experiments.training.run import TrainingRun

DIGITS = 5000  # in mnist5k


def overrides(task: Task) -> list[str]:
    """As they would be typed: where the default is not what the others do."""
    if task.dataset == "mnist5k":
        train, held_out = (len(images) / DIGITS for images in (task.train, task.held_out))
        split = {"train": train, "val": held_out, "test": round(1 - train - held_out, 6)}
    else:
        split = {"validation": task.held_out_count}
    return [
        f"dataset={task.dataset}",
        *(f"dataset.split.{key}={value}" for key, value in split.items()),
        f"architecture.batch_size={task.batch_size}",
        "posterior.limit=null",
        "posterior.initial=null",
        f"optimizer.lr={LEARNING_RATE}",
        f"optimizer.betas=[{BETAS[0]},{BETAS[1]}]",
        f"+optimizer.eps={EPSILON}",
        "scheduler=constant",
        f"trainer.max_epochs={task.epochs}",
        f"trainer.precision={task.precision}",
        f"trainer.threads={task.threads}",
        f"trainer.device={task.device}",
        f"trainer.cuda_graphs={task.graphs}",
        f"seed={task.seed}",
        "tracking=off",
        "figures.epoch_manifold_size=0",
        "hooks.gallery=null",
    ]


def check_data(run: TrainingRun, task: Task) -> None:
    """Trained and validated on what the others were given."""
    images, parts = run.data.dataset.images[:, 0], run.data.parts
    assert np.array_equal(images[parts.train], task.train)
    assert np.array_equal(images[parts.val], task.held_out)


def main() -> None:
    """Trains and answers."""
    task = Task.from_command_line()
    register_resolvers()
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        composed = to_plain(hydra.compose("train", overrides(task)))
    config = {key: value for key, value in composed.items() if key not in ABOUT_THE_SWEEP}
    with tempfile.TemporaryDirectory(prefix="vae-bench-") as folder:
        run = start(config, Path(folder))
    check_data(run, task)
    history = run.state.history
    seconds = len(task.train) / history[-1]["time/images_per_second"]
    parameters = sum(p.numel() for p in run.state.vae.parameters())
    precision = str(run.hardware.precision).removeprefix("torch.")
    losses = [epoch["train/loss"] for epoch in history]
    answer(seconds, task, losses, history[-1]["val/loss"], parameters, precision, "vae-experiments", "torch")


if __name__ == "__main__":
    main()
