"""A section of the bench: the seed's network on a GPU, beside eager PyTorch there, and several jobs on one GPU.

python benchmarks/gpu.py
"""

import statistics
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from child import Failed, measured
from command import DATA, VAE, run, scratch, watched, written
from settings import Settings
from sweep_jobs import Sweep, sweep
from training import Contestant, spread, table

from vae_experiments.data.sources.mnist import MNIST
from vae_experiments.data.splits import Official

BATCH_SIZES = (16, 128, 1024)
EPOCHS = 2  # the last is timed
HELD_OUT = 40_000  # of MNIST's 60,000: the loop people write takes minutes for all of them at batch 16
OURS = ("--dataset=mnist", f"--held-out={HELD_OUT}")
EAGER = "eager PyTorch, float32, DataLoader with two workers"
CONTESTANTS = (
    Contestant("this project", "ours", None, OURS, is_peer=False),
    Contestant("this project, `trainer.cuda_graphs=false`", "ours", None, (*OURS, "--graphs=false"), is_peer=False),
    Contestant("eager PyTorch, bfloat16, images on the GPU", "eager", None, ("--precision=bfloat16", "--resident")),
    Contestant(EAGER, "eager"),
)
SEED = ("experiment=seed", "architecture.batch_size=128", "tracking=off", "hooks.gallery=null", "hooks.diagnosis=null")
JOBS = 8
AT_ONCE = (1, 2, 4, 8)
SHARED = ("dataset=mnist", "trainer.max_epochs=6", "figures.epoch_manifold_size=0", "hooks.gallery=null")


@dataclass
class Measured:
    """All of it.

    Args:
        card: its name.
        version: PyTorch's there.
        rates: images per second of each contestant at each batch size, in every round.
        held_out: their losses on the held-out images at the end, nats per image, likewise.
        seed_run: seconds of each of the seed's five epochs' training, and last from the first step to the end of the
            last validation.
        sweeps: of the same jobs, by how many ran at once.
    """

    card: str
    version: str
    rates: dict[tuple[str, int], list[float]] = field(default_factory=lambda: defaultdict(list))
    held_out: dict[tuple[str, int], list[float]] = field(default_factory=lambda: defaultdict(list))
    seed_run: list[list[float]] = field(default_factory=list)
    sweeps: dict[int, Sweep] = field(default_factory=dict)


def measure(settings: Settings) -> Measured:
    """Runs all rounds.

    Raises:
        Failed: there is no GPU.
    """
    if not torch.cuda.is_available():
        raise Failed("this machine has no CUDA device")
    result = Measured(torch.cuda.get_device_name(), torch.__version__)
    with tempfile.TemporaryDirectory(prefix="vae-bench-") as folder:
        export(Path(folder))
        for number in range(settings.rounds):
            for batch_size, contestant in product(BATCH_SIZES, CONTESTANTS):
                answer = train(contestant, folder, batch_size, number, settings.threads)
                result.rates[contestant.name, batch_size].append(answer["images_per_second"])
                result.held_out[contestant.name, batch_size].append(answer["held_out"])
    with scratch() as folder:
        for number in range(settings.rounds):
            result.seed_run.append(seed_run(folder / str(number), settings.threads))
            say(f"the seed's five epochs, and the whole: {result.seed_run[-1]}")
        first = (*SHARED, "seed=0", "trainer.max_epochs=1", "sweep.estimate=false")
        run((*VAE, "train", "-m", *first), folder, 1, gpu=True)
        for at_once in AT_ONCE:
            result.sweeps[at_once] = sweep(folder, at_once, 1, f"seed=range({JOBS})", SHARED, gpu=True)
            say(f"{JOBS} jobs, {at_once} at once: {result.sweeps[at_once].whole:.0f} s")
    return result


def export(folder: Path) -> None:
    """Digits of MNIST as our own split deals them, for everybody."""
    source = MNIST(root=str(DATA / "mnist"), split=Official(validation=HELD_OUT, seed=0))
    dataset = source.load()
    parts = source.split.parts(dataset)
    np.save(folder / "train.npy", dataset.images[parts.train, 0])
    np.save(folder / "held_out.npy", dataset.images[parts.val, 0])


def train(contestant: Contestant, folder: str, batch_size: int, seed: int, threads: int) -> dict[str, Any]:
    """One training."""
    options = (f"--batch-size={batch_size}", f"--epochs={EPOCHS}", f"--seed={seed}", f"--threads={threads}")
    options += ("--device=cuda",)
    answer = measured(f"peers.{contestant.script}", folder, *options, *contestant.options, threads=threads)
    say(f"batch {batch_size}, {contestant.name}: {answer['images_per_second']:,.0f} images/s")
    return answer


def say(line: str) -> None:
    """For whoever waits."""
    print(line, file=sys.stderr, flush=True)


def seed_run(folder: Path, threads: int) -> list[float]:
    """Seconds of training in each of the notebook's five epochs, and last those until the end of validation."""
    report = folder.with_suffix(".json")
    watch = watched("LastEpoch", path=report)
    run((*VAE, "train", *SEED, f"hydra.run.dir={folder}", watch), folder.parent, threads, gpu=True)
    reached = written(report)
    return [*reached["epochs"], reached["seconds"]]


def markdown(measured: Measured) -> str:
    """The section."""
    rounds = len(measured.seed_run)
    first, *others, whole = (statistics.median(each) for each in zip(*measured.seed_run, strict=True))
    alone = measured.sweeps[1].whole
    shared = [f"{n} at once {s.whole:.0f} s, {alone / s.whole:.2f} times as fast" for n, s in measured.sweeps.items()]
    sizes = [f"batch {size:,}" for size in BATCH_SIZES]
    introduction = (
        f"One {measured.card}, PyTorch {measured.version}. The seed's network on 20,000 digits of MNIST, loss and "
        f"optimizer as above; epoch {EPOCHS} is timed, validation left out: the median of {rounds} round(s) and, in "
        "brackets, the lowest and the highest, then how many times the rate of the loop people write. Eager float32 "
        "multiplies as PyTorch does by default; this project in bfloat16."
    )
    seed = (
        f"The seed's five epochs (65,000 digits, its RMSprop) at batch 128: {first + sum(others):.2f} s of training, "
        f"of which the first takes {first:.2f} s (libraries are loaded, graphs captured) and each other "
        f"{statistics.mean(others):.2f} s; {whole:.2f} s from the first step to the end of the last validation."
    )
    parts = [
        "## On a GPU",
        introduction,
        table(["images/s", *sizes], rate_rows(measured), left=1),
        table(["held out, nats per image", *sizes], loss_rows(measured), left=1),
        seed,
        f"{JOBS} jobs of six epochs on this one card, recorded in MLflow: {'; '.join(shared)}.",
    ]
    return "\n\n".join(parts)


def rate_rows(measured: Measured) -> list[list[str]]:
    """Each contestant's images per second, and how many times the loop people write that is."""

    def cell(name: str, size: int) -> str:
        rates = measured.rates[name, size]
        ratio = statistics.median(a / b for a, b in zip(rates, measured.rates[EAGER, size], strict=True))
        return f"{spread(rates, ',.0f')}, {ratio:.1f}x"

    return [[each.name, *(cell(each.name, size) for size in BATCH_SIZES)] for each in CONTESTANTS]


def loss_rows(measured: Measured) -> list[list[str]]:
    """Each contestant's held-out losses."""
    return [
        [each.name, *(spread(measured.held_out[each.name, size], ".1f") for size in BATCH_SIZES)]
        for each in CONTESTANTS
    ]


if __name__ == "__main__":
    print(markdown(measure(Settings())))
