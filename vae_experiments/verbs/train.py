"""vae train: one model, or with -m a sweep."""

import logging
import os
import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vae_experiments.config.hydra_app import run_hydra

if TYPE_CHECKING:
    from vae_experiments.training.run import TrainingRun

log = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> None:
    """Runs the verb; see `vae train --help`."""
    run_hydra("train", arguments, train)


def train(config: dict[str, Any], folder: str) -> None:
    """Trains one composed config in the folder that was made for it, and says where everything is."""
    from vae_experiments.sweeps.compose import ABOUT_THE_SWEEP, only_plans

    run = {key: value for key, value in config.items() if key not in ABOUT_THE_SWEEP}
    if only_plans(config["plan"]):
        from vae_experiments.sweeps.start import plan_one

        with suppress(OSError):  # Hydra made them, and nothing will come into them
            Path(folder).rmdir()
            Path(folder).parent.rmdir()
        plan_one(run)
        return
    # Not before: --help and --cfg need no PyTorch.
    from hydra.core.hydra_config import HydraConfig

    from vae_experiments.runs.command import own_configs
    from vae_experiments.runs.runner import start
    from vae_experiments.tracking.address import shown_override

    typed = [shown_override(word) for word in HydraConfig.get().overrides.task]
    typed += own_configs(HydraConfig.get().runtime.config_sources)
    say_where(start(run, Path(folder), typed))


def say_where(run: "TrainingRun") -> None:
    """The closing lines of a run: what it reached, where it is, what to do next."""
    from vae_experiments.runs.closing import closing_lines
    from vae_experiments.runs.command import program, trust, with_other_latent_dim
    from vae_experiments.runs.folder import RunFolder

    if not run.world.is_first:
        return
    if run.state.best_epoch > 0:
        figures = (run.trainer.monitor, run.state.best_value, run.state.best_epoch, run.state.epoch)
        log.info("best %s %.4f at epoch %d of %d", *figures)
    folder, own = os.path.relpath(run.folder), trust(RunFolder(run.folder).config())
    ways = [
        shlex.join(["vae", "generate", folder, "what=samples", *own]),
        shlex.join(["vae", "evaluate", folder, *own]),
    ]
    other = with_other_latent_dim(run.folder)
    if other is not None:
        ways.append(shlex.join([*program(run.folder), "train", *other]))
    for line in closing_lines(run.folder, ways):
        log.info("%s", line)
