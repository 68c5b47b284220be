"""A section of the bench: eight models of one shape, side by side and, in three ways, one after another.

python benchmarks/sweep_jobs.py
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from command import VAE, run, scratch
from settings import Settings

from vae_experiments.sweeps.progress import read_progress

JOBS = 8
EPOCHS = 3
KEYS = ("dataset=mnist5k", f"trainer.max_epochs={EPOCHS}", "figures.epoch_manifold_size=0", "hooks.gallery=null")
SWEEP = (f"seed=range({JOBS})", "sweep.estimate=false")


@dataclass(frozen=True)
class Sweep:
    """Seconds: of the whole command, and of its jobs' training added up."""

    whole: float
    training: float

    @property
    def beyond(self) -> float:
        """Those of a sweep of one job after another that are not training."""
        return self.whole - self.training


@dataclass(frozen=True)
class Measured:
    """The same jobs again and again.

    Args:
        together: as many at once as there are threads, one thread each.
        commands: seconds of as many commands of one job, one after another on all threads, as without a sweep.
        alone: a sweep, one at a time, on all threads.
        single: a sweep, one at a time, on one thread as together, the other cores idle.
        one: as single, of one job.
    """

    threads: int
    together: Sweep
    commands: float
    alone: Sweep
    single: Sweep
    one: Sweep

    @property
    def overhead(self) -> float:
        """Seconds that each job more takes on a core of its own, beyond its training."""
        return (self.single.beyond - self.one.beyond) / (JOBS - 1)

    @property
    def once(self) -> float:
        """Seconds of a sweep, whatever the number of its jobs."""
        return self.one.beyond - self.overhead


def measure(settings: Settings) -> Measured:
    """Runs all of them, and what a sweep has once."""
    with scratch() as folder:
        run((*VAE, "train", "-m", *KEYS, "seed=0", "trainer.max_epochs=1", *SWEEP[1:]), folder, 1)  # makes the store
        return Measured(
            settings.threads,
            sweep(folder, settings.threads, 1, SWEEP[0]),
            commands(folder, settings.threads),
            sweep(folder, 1, settings.threads, SWEEP[0]),
            sweep(folder, 1, 1, SWEEP[0]),
            sweep(folder, 1, 1, "seed=0"),
        )


def sweep(
    folder: Path, at_once: int, threads: int, seeds: str, keys: Sequence[str] = KEYS, *, gpu: bool = False
) -> Sweep:
    """One sweep of the jobs, so many at once with so many threads each."""
    before = set(folder.glob("multirun/*"))
    shares = (f"sweep.jobs={at_once}", f"trainer.threads={threads}")
    at_all = at_once * threads  # the comparison, drawn when no job runs any more, may have them all
    ended = run((*VAE, "train", "-m", *keys, seeds, *SWEEP[1:], *shares), folder, at_all, gpu=gpu)
    (made,) = set(folder.glob("multirun/*")) - before
    histories = [read.history for job in made.iterdir() if job.is_dir() and (read := read_progress(job))]
    return Sweep(ended.seconds, sum(row["time/epoch_seconds"] for history in histories for row in history))


def commands(folder: Path, threads: int) -> float:
    """Seconds of the jobs as a command each."""
    return sum(run((*VAE, "train", *KEYS, f"seed={seed}"), folder, threads).seconds for seed in range(JOBS))


def markdown(measured: Measured) -> str:
    """The section."""
    together, threads = measured.together.whole, measured.threads
    rows = {
        f"a sweep, {threads} at once, a thread each": together,
        f"a command for each, one after another, {threads} threads": measured.commands,
        f"a sweep, one after another, {threads} threads (`sweep.jobs=1`)": measured.alone.whole,
        "a sweep, one after another, a thread each as well": measured.single.whole,
    }
    table = [f"| {what} | {seconds:.1f} | {seconds / together:.2f} |" for what, seconds in rows.items()]
    return (
        "## A sweep\n\n"
        f"{JOBS} models of the default network, {EPOCHS} epochs of 4,000 digits each, recorded in MLflow; seconds of "
        "the whole command, or commands.\n\n"
        + "\n".join(["| | seconds | times as long |", "|---|---:|---:|", *table])
        + f"\n\nOn a core of its own a job takes {measured.overhead:.1f} s beyond its training's steps (validation, "
        f"checkpoints, diagnosis, MLflow), a sweep once {measured.once:.1f} s."
    )


if __name__ == "__main__":
    print(markdown(measure(Settings())))
