"""A section of the bench: what numbers too small for a CPU's fast path cost a run as it goes on.

python benchmarks/denormals.py
"""

import statistics
from dataclasses import dataclass, field

from command import VAE, run, scratch
from settings import Settings

from vae_experiments.sweeps.progress import read_progress

EPOCHS = 18  # of the bundled digits, 2,250 steps: further than the first of MNIST's own goes
KEYS = (
    *("dataset=mnist5k", f"trainer.max_epochs={EPOCHS}", "trainer.threads=1", "tracking=off"),
    *("figures.epoch_manifold_size=0", "hooks.gallery=null", "hooks.diagnosis=null"),
    "+hooks.progress_file={_target_:vae_experiments.sweeps.progress.ProgressFile}",
)


@dataclass(frozen=True)
class Measured:
    """Images per second in the second and in the last epoch of each round, by whether denormals are kept."""

    second: dict[bool, list[float]] = field(default_factory=lambda: {False: [], True: []})
    last: dict[bool, list[float]] = field(default_factory=lambda: {False: [], True: []})


def measure(settings: Settings) -> Measured:
    """Trains the default network on one thread, each way in turn."""
    result = Measured()
    with scratch() as folder:
        for round_ in range(settings.rounds):
            for kept in (False, True):
                where = folder / f"{round_}-{kept}"
                run((*VAE, "train", *KEYS, f"trainer.flush_denormals={not kept}", f"hydra.run.dir={where}"), folder, 1)
                progress = read_progress(where)
                assert progress is not None
                rates = [row["time/images_per_second"] for row in progress.history]
                result.second[kept].append(rates[1])
                result.last[kept].append(rates[-1])
    return result


def markdown(measured: Measured) -> str:
    """The section."""

    def row(kept: bool) -> str:
        second, last = statistics.median(measured.second[kept]), statistics.median(measured.last[kept])
        return f"{second:,.0f} | {last:,.0f}"

    gain = statistics.median(a / b for a, b in zip(measured.last[False], measured.last[True], strict=True))
    return (
        "## As a run goes on\n\n"
        "Images a second of the default network on the bundled digits, one thread. An optimizer's moments of weights "
        "that no longer get a gradient die away to numbers below 1e-38, over which a CPU takes many times as long; a "
        "run takes them for zero.\n\n"
        f"| | second epoch | epoch {EPOCHS} |\n|---|---:|---:|\n"
        f"| as it is | {row(False)} |\n| `trainer.flush_denormals=false` | {row(True)} |\n\n"
        f"In the last epoch {gain:.2f} times as fast."
    )


if __name__ == "__main__":
    print(markdown(measure(Settings())))
