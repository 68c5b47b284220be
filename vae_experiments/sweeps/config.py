"""The keys of conf/train.yaml that are about a sweep and not about a run."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """How a sweep runs its jobs.

    Args:
        jobs: how many at once; None: as many as the machine bears.
        on_failure: what a failed job does to the others; "stop" saves and ends those under way and starts no more.
        zip: swept keys whose values are paired, not crossed.
        estimate: time a few steps before the first job, for the plan's figures and for how many jobs fit in memory.
    """

    jobs: Annotated[int, Ge(1)] | None = None
    on_failure: Literal["continue", "stop"] = "continue"
    zip: list[str] = field(default_factory=list)
    estimate: bool = True
