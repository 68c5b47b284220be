"""What runs a sweep's jobs, each in a process of its own."""

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class Order:
    """What a job's process is told; plain values, so that it can travel.

    Args:
        folder: the job's, absolute; its config.yaml says what to train.
        cwd: the working directory of the command, which relative paths in the config mean.
        environment: the command's, for what the config or a store reads from it.
        trusted: packages whose classes the config may name; None for any.
        force: continue although data, code or arithmetic have changed.
        tracking: the tracking section where the store is not where the config says; else None.
    """

    folder: Path
    cwd: Path
    environment: dict[str, str]
    trusted: tuple[str, ...] | None = None
    force: bool = False
    tracking: dict[str, object] | None = None


class Handle(ABC):
    """One job under way."""

    @abstractmethod
    def ended(self) -> str | None:
        """None while it goes on; "" when it ended by itself; else how its process died, in a few words."""

    @abstractmethod
    def stop(self) -> None:
        """Asks it to save a checkpoint and leave; asked again, to leave at once."""


class Executor(ABC):
    """Starts jobs.

    Attributes:
        capacity: how many jobs it takes at once.
        outlives: jobs go on without this process; submitted again, one that is under way is taken up.
    """

    capacity: int
    outlives: bool = False

    @abstractmethod
    def submit(self, order: Order) -> Handle:
        """Starts a job; returns at once."""

    def wait(self, seconds: float) -> None:
        """Returns after that time, or sooner: when a job has ended, where that can be told."""
        time.sleep(seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Frees what it holds; jobs that still run are asked to leave."""
