"""Where a sweep's jobs come from, and who learns how each of them went."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from vae_experiments.runs.plan import Job

History = Sequence[Mapping[str, float]]  # each finished epoch's metrics, oldest first


@dataclass(frozen=True)
class Outcome:
    """How a job went.

    Args:
        status: STOPPED when it was asked to leave: by a signal, by sweep.on_failure=stop, or as hopeless.
        reason: one line on why it failed; "" otherwise.
        history: its epochs' metrics; the last one also holds those of the best epoch, as best/...
    """

    status: Literal["FINISHED", "FAILED", "STOPPED"]
    reason: str = ""
    history: History = field(default=())


class JobSource(ABC):
    """What the controller of a sweep asks for work. Called by one thread of one process."""

    @abstractmethod
    def next(self) -> Job | None:
        """The next job to run, its folder with its config.yaml written; None when there is none at the moment."""

    def hopeless(self, job: Job, history: History) -> bool:
        """Whether to stop a job that is under way, given its epochs so far; asked again after every epoch."""
        return False

    def results(self) -> list[str]:
        """What there is to say at the end, a line each, beyond the comparison."""
        return []

    @abstractmethod
    def ended(self, job: Job, outcome: Outcome) -> None:
        """Learns how a job went."""
