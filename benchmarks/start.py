"""A section of the bench: how long it takes until a command has begun, and how much of that is our own doing.

    python benchmarks/start.py

The least of several times: whatever else the machine does only adds. Files are in the system's cache, and the
tracking database is there.
"""

import sys
from pathlib import Path

from command import VAE, run, scratch, watched
from settings import Settings

from vae_experiments.garbage import HARDLY, SELDOM

REPEATS = 3  # in each round
# What a run needs of these two until its first step, the optimizer's share of PyTorch's compiler included, by itself;
# and as seldom interrupted by searches for garbage as `vae` is.
ALONE = (
    "import torch, torch._dynamo, mlflow, os; "
    "mlflow.MlflowClient('sqlite:///mlflow.db').get_experiment('0'); os._exit(0)"
)
UNDISTURBED = f"import gc; gc.set_threshold({SELDOM}, {HARDLY}, {HARDLY}); {ALONE}"
TRAIN = (*VAE, "train", "dataset=mnist5k")
COMMANDS = {
    "a bare interpreter": (sys.executable, "-c", "pass"),
    "`vae --help`": (*VAE, "--help"),
    "`vae train --cfg job`": (*VAE, "train", "--cfg", "job"),
    "importing PyTorch and MLflow, opening its database, and no more": (sys.executable, "-c", ALONE),
    "the same with as few searches for garbage as `vae` makes": (sys.executable, "-c", UNDISTURBED),
    "`vae train`, until its first step is done": (*TRAIN, watched("FirstStep")),
}
BARE, HELP, CFG, _, LIBRARIES, FIRST = COMMANDS


def measure(settings: Settings) -> dict[str, float]:
    """Seconds of each."""
    with scratch() as folder:
        for command in COMMANDS.values():  # fills the caches
            run(command, folder, settings.threads)
        return {name: least(command, folder, settings) for name, command in COMMANDS.items()}


def least(command: tuple[str, ...], folder: Path, settings: Settings) -> float:
    """Seconds, the fewest of several runs."""
    return min(run(command, folder, settings.threads).seconds for _ in range(REPEATS * settings.rounds))


def markdown(seconds: dict[str, float]) -> str:
    """The section."""
    rows = [f"| {name} | {each:.2f} |" for name, each in seconds.items()]
    own = seconds[FIRST] - seconds[LIBRARIES]
    rows.append(f"| what that first step takes beyond that | {own:.2f} |")
    rows.append(f"| the same without Hydra's composing the config, too | {own - (seconds[CFG] - seconds[HELP]):.2f} |")
    rows.append(f"| our own share of `vae --help` | {seconds[HELP] - seconds[BARE]:.2f} |")
    table = "\n".join(["| | seconds |", "|---|---:|", *rows])
    return f"## Start\n\nThe least of several runs, with warm caches.\n\n{table}"


if __name__ == "__main__":
    print(markdown(measure(Settings())))
