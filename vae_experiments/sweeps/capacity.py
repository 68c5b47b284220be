"""How many jobs this machine bears at once, and with how many threads each."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from vae_experiments.sweeps import human

MEMORY_SHARE = 0.8  # of what is available: estimates err, and other programs need some
CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


@dataclass(frozen=True)
class Capacity:
    """How a sweep is spread over the machine.

    Args:
        jobs: at once.
        threads: of each.
        why: what decided it, in a few words.
        gpus: to be shared out, one to a job; 0 on the CPU.
        warning: what the user should know before the sweep starts; "" for nothing.
    """

    jobs: int
    threads: int
    why: str
    gpus: int = 0
    warning: str = ""


def jobs_at_once(
    asked: int | None, jobs: int, peak_bytes: int | None, device: str, threads: int | None = None
) -> Capacity:
    """How many jobs to run side by side.

    Args:
        asked: by the user; None for as many as the machine bears.
        jobs: in the sweep.
        peak_bytes: memory that the largest of them needs; None when it is not known.
        device: the jobs' trainer.device.
        threads: the jobs' trainer.threads; None shares the cores out.
    """
    here = cores()
    devices = gpus() if device in ("auto", "cuda") else 0
    limits = [(jobs, "every job at once" if jobs > 1 else "one job")]
    if devices:
        limits.append((devices, "1 GPU" if devices == 1 else f"{devices} GPUs, a job on each"))
    elif device == "mps":
        limits.append((1, "one GPU"))
    limits.append((max(here // (threads or 1), 1), f"{here} core" + "s" * (here > 1)))
    if threads and threads > 1:
        limits[-1] = (limits[-1][0], f"{limits[-1][1]}, {threads} threads a job")
    warning = ""
    if peak_bytes:
        available = available_memory()
        fit = int(MEMORY_SHARE * available / peak_bytes)
        if fit < 1:
            warning = f"a job needs about {human.size(peak_bytes)} of memory, {human.size(available)} are available"
        limits.append((max(fit, 1), f"memory: {human.size(peak_bytes)} a job"))
    most, why = min(limits, key=lambda limit: limit[0])
    if asked is not None:
        if min(asked, jobs) > most:
            warning = f"{min(asked, jobs)} jobs at once are more than this machine bears ({why})"
        most, why = min(asked, jobs), "as asked"
    most = max(most, 1)
    return Capacity(most, threads or max(here // most, 1), why, devices, warning)


def cores() -> int:
    """CPU cores that this process may use: the machine's, less what affinity and cgroups take away; at least 1."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min([count, *(int(quota) for quota in cpu_quotas())]))


def available_memory() -> int:
    """Bytes that can still be had: the machine's, or what a cgroup leaves."""
    return max(0, min([psutil.virtual_memory().available, *memory_left()]))


def gpus() -> int:
    """CUDA devices in sight; asking does not initialise CUDA, which forked jobs could not bear."""
    import torch  # takes a second or two

    return torch.cuda.device_count()


def cpu_quotas(root: Path = CGROUPS, membership: Path = MEMBERSHIP) -> list[float]:
    """Cores' worth of CPU time that each cgroup around this process grants it, where one is set."""
    quotas: list[float] = []
    for folder in _around(root, "cpu", membership):
        words = _words(folder / "cpu.max")  # version 2: "max 100000" or "150000 100000"
        words = words or [*_words(folder / "cpu.cfs_quota_us"), *_words(folder / "cpu.cfs_period_us")]  # version 1
        if len(words) == 2 and words[0] not in ("max", "-1"):
            quotas.append(int(words[0]) / int(words[1]))
    return quotas


def memory_left(root: Path = CGROUPS, membership: Path = MEMBERSHIP) -> list[int]:
    """Bytes that each cgroup around this process has left, where it has a limit; file cache can be taken back."""
    left: list[int] = []
    versions = (  # 2, then 1
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    )
    for folder in _around(root, "memory", membership):
        for limit, usage, cache in versions:
            words = [*_words(folder / limit), *_words(folder / usage)]
            if len(words) == 2 and words[0] != "max":
                stat = _words(folder / "memory.stat")
                reclaimable = int(stat[stat.index(cache) + 1]) if cache in stat else 0
                left.append(int(words[0]) - int(words[1]) + reclaimable)
    return left


def _around(root: Path, controller: str, membership: Path) -> Iterator[Path]:
    """The folders of the cgroups that hold this process, inmost first: its own, its parent's, and so on.

    In a container the path that the kernel tells may not be there: then the root is the container's own.
    """
    for line in _lines(membership):
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = root / controller if controllers else root  # version 1 has a tree for each controller
        folder = top / path.lstrip("/")
        while folder.is_relative_to(top):
            yield folder
            folder = folder.parent


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:  # not Linux, or not there
        return []


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()
