"""What a sweep will run: decided, checked and written down before its first job starts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Args:
        number: from 0; the name of its folder in the sweep's.
        name: what varied, as shown: "latent_dim=8 kl_weight=4".
        varied: the value of every swept key, by its full name, as in {"architecture.latent_dim": 8}; of a
            swept group, such as "architecture", the choice's name.
        digest: SHA-256 of its config.yaml, which must still be the same when the sweep is resumed.
    """

    number: int
    name: str
    varied: dict[str, Any]
    digest: str


@dataclass(frozen=True)
class Plan:
    """A sweep, as decided when it was typed; never changed afterwards.

    Args:
        name: the sweep's, and its MLflow parent run's.
        command: the overrides that were typed.
        keys: the swept keys and groups, in the order they were typed; `seed` among them means repeats.
        jobs: in the order they start.
        at_once: how many were asked to run at once; None for as many as the machine bears.
        launcher: what runs them: plain config of a `sweeps.executors` class, with its `_target_`.
        tracking: the runs' tracking section, without a password.
        on_failure: what a failed job does to the others.
        code: digest of the package's source.
        search: of a search, whose jobs are decided while it runs: its settings and space; None for a grid.
        peak_bytes: memory of the largest job, as estimated; None when it was not.
    """

    name: str
    command: list[str]
    keys: list[str]
    jobs: list[Job]
    at_once: int | None
    launcher: dict[str, Any]
    tracking: dict[str, Any]
    on_failure: str
    code: str
    search: dict[str, Any] | None = None
    peak_bytes: int | None = None

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """Raises ValueError, TypeError or KeyError on what is no plan."""
        data = json.loads(text)
        return cls(**{**data, "jobs": [Job(**job) for job in data["jobs"]]})


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Each swept key's last part, or as much of its end as tells it from the others."""
    names = {}
    for key in keys:
        parts = key.split(".")
        ends = (".".join(parts[-n:]) for n in range(1, len(parts) + 1))
        others = [other for other in keys if other != key]
        names[key] = next((end for end in ends if not any(_ends_with(other, end) for other in others)), key)
    return names


def job_name(varied: Mapping[str, Any]) -> str:
    """What varied, as a run's name: "latent_dim=8 kl_weight=4"."""
    names = short_names(list(varied))
    return " ".join(f"{names[key]}={shown(value)}" for key, value in varied.items())


def shown(value: object) -> str:
    """A swept value as people write it: 0.5, [16,32], null; of a drawn one, the digits that matter."""
    if isinstance(value, float):
        return f"{value:.4g}" if float(f"{value:.4g}") != value else json.dumps(value)
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _ends_with(key: str, end: str) -> bool:
    return key == end or key.endswith(f".{end}")
