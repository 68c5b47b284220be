"""A section of the bench: how much memory runs take, whether it grows, and data that is larger than memory.

    python benchmarks/memory.py

The last of these needs a control group of its own, hence root on Linux; without one it says so.
"""

import os
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from command import VAE, run, scratch, watched, written
from settings import Settings

EPOCHS = 400  # the first half warms up: caches of the allocator and of the database fill
LIMIT = 1536 << 20  # bytes that the process with the large data may have, the cached part of the file included
TIMES = 4  # the data is that many times as large
IN_MEMORY = 64 << 20  # bytes of the data that it is compared with
STEPS = 300
# As small as a run can be: 200 digits, four steps an epoch.
TINY = (
    *("experiment=smoke", "dataset/split=fractions", "dataset.split.train=0.04", "dataset.split.val=0.02"),
    *("dataset.split.test=0.94", "architecture.filters=[4,4,4,4]", "architecture.batch_size=50"),
    *("figures.epoch_manifold_size=3", f"trainer.max_epochs={EPOCHS}"),
)


@dataclass(frozen=True)
class Measured:
    """Bytes, and images per second.

    Args:
        peak: of a default run of one epoch.
        resident: after each epoch of a long, small run.
        rates: from memory, and from a file TIMES as large as memory, of each round; None where it cannot be limited.
    """

    peak: int
    resident: list[int]
    rates: list[tuple[float, float]] | None

    @property
    def growth(self) -> float:
        """Bytes an epoch over the second half, as a straight line through it has them."""
        half = np.array(self.resident[len(self.resident) // 2 :])
        return float(np.polyfit(np.arange(len(half)), half, 1)[0])


def measure(settings: Settings) -> Measured:
    """Runs all of them."""
    with scratch() as folder:
        peak = run((*VAE, "train", "trainer.max_epochs=1"), folder, settings.threads).peak
        run((*VAE, "train", *TINY, watched("Memory", path=folder / "resident")), folder, settings.threads)
        return Measured(peak, written(folder / "resident"), larger_than_memory(folder, settings))


def larger_than_memory(folder: Path, settings: Settings) -> list[tuple[float, float]] | None:
    """Images per second from memory, and from a map of a file that does not fit, in processes that may have LIMIT."""
    with limited() as group:
        if group is None:
            return None
        small, large = folder / "small", folder / "large"
        write(small, IN_MEMORY)
        write(large, TIMES * LIMIT)
        return [
            (rate(small, True, group, settings), rate(large, False, group, settings)) for _ in range(settings.rounds)
        ]


def rate(images: Path, in_memory: bool, group: Path, settings: Settings) -> float:
    """Images per second that train from that file, of which nothing is in the system's cache."""
    forget(images)
    folder = images.parent
    data = ("dataset=npz", "dataset/split=holdout", "dataset._target_=watchers.Mapped", "dataset.split.size=1000")
    file = (f"dataset.path={images}", f"+dataset.in_memory={in_memory}")
    enter = ("sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh")
    watcher = watched("Rate", path=folder / "rate", steps=STEPS)
    run((*enter, *VAE, "train", *data, *file, "tracking=off", watcher), folder, settings.threads)
    return float(written(folder / "rate"))


def write(path: Path, nbytes: int) -> None:
    """Images of noise."""
    generator = np.random.default_rng(0)
    with path.open("wb") as file:
        for _ in range(nbytes // (784 << 14)):
            file.write(generator.bytes(784 << 14))
        file.flush()
        os.fsync(file.fileno())


def forget(path: Path) -> None:
    """Has the system's cache keep nothing of a file."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextmanager
def limited() -> Iterator[Path | None]:
    """A control group whose processes may have LIMIT bytes; None where none can be made."""
    root = Path("/sys/fs/cgroup")
    old = (root / "memory").is_dir()  # version 1 has a tree for each resource
    group = (root / "memory" if old else root) / "vae-bench"
    try:
        group.mkdir()
        (group / ("memory.limit_in_bytes" if old else "memory.max")).write_text(str(LIMIT))
    except OSError:
        yield None
        return
    try:
        yield group
    finally:
        group.rmdir()


def markdown(measured: Measured) -> str:
    """The section."""
    lines = [
        f"- A default run of one epoch of MNIST: {measured.peak / 2**20:,.0f} MiB at most.",
        f"- Growth from epoch {EPOCHS // 2} to {EPOCHS}: {measured.growth / 2**10:+.1f} KiB an epoch (its metrics).",
    ]
    if measured.rates is None:
        lines.append("- Data larger than memory: not measured, for want of a control group (root on Linux).")
    else:
        memory, mapped = (statistics.median(rates) for rates in zip(*measured.rates, strict=True))
        shares = [mapped / memory for memory, mapped in measured.rates]
        lines.append(
            f"- A memory-mapped file {TIMES} times as large as the {LIMIT / 2**30:g} GiB that the process may have: "
            f"{mapped:,.0f} images/s, where it is {memory:,.0f} from memory; {statistics.median(shares):.0%} "
            f"({min(shares):.0%} to {max(shares):.0%}) of that, round by round."
        )
    return "## Memory\n\n" + "\n".join(lines)


if __name__ == "__main__":
    print(markdown(measure(Settings())))
