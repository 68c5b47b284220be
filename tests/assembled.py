"""Runs put together from the real configs and trained by the real loop, without a folder, a store or pictures."""

import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from support import BARE

from vae_experiments.config.hydra_app import to_plain
from vae_experiments.config.paths import conf_dir
from vae_experiments.config.resolvers import register_resolvers
from vae_experiments.runs.assemble import assemble
from vae_experiments.runs.config import RunConfig
from vae_experiments.runs.folder import RunFolder
from vae_experiments.sweeps.compose import ABOUT_THE_SWEEP
from vae_experiments.training.checkpoints import save_checkpoint
from vae_experiments.training.run import Hook, TrainingRun
from vae_experiments.training.state import Metrics
from vae_experiments.training.world import World

Config = dict[str, Any]


def composed(*overrides: str) -> Config:
    """The config of a bare run, as `vae train` composes it."""
    register_resolvers()
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        config = to_plain(compose("train", [*BARE, *overrides]))
    return {key: value for key, value in config.items() if key not in ABOUT_THE_SWEEP}


def start(config: Config, *hooks: Hook) -> TrainingRun:
    """The run at its very beginning."""
    run = assemble(replace(RunConfig.of(config), hooks={}), config, RunFolder(Path()), World())
    run.hooks = hooks
    return run


def numbers(run: TrainingRun) -> list[Metrics]:
    """Each epoch's metrics, without those that measure time."""
    return [{k: v for k, v in epoch.items() if not k.startswith("time/")} for epoch in run.state.history]


@dataclass(kw_only=True)
class LeaveAfter(Hook):
    """Saves a checkpoint after that many steps, and leaves as after a signal."""

    step: int
    folder: Path

    def on_step(self, run: TrainingRun) -> None:
        if run.state.step == self.step:
            run.signum = signal.SIGTERM

    def on_interrupt(self, run: TrainingRun) -> None:
        save_checkpoint(self.folder, run.checkpoint())
