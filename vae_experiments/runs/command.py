"""The command that would train a run once more, from the words that were typed."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from vae_experiments.errors import InputError
from vae_experiments.runs.folder import COMMAND
from vae_experiments.runs.sweep_folder import SweepFolder

_OF_THE_SWEEP = ("hydra", "sweep", "plan")  # words about how many runs there are, and where they go


def single_run(path: Path) -> list[str] | None:
    """The overrides of the run in the folder `path`, a sweep's job or not; None where nobody wrote them down.

    Where it goes is left out: the same folder cannot be used twice.
    """
    sweep = SweepFolder(path.parent)
    if sweep.exists and path.name.isdigit():
        with suppress(InputError):
            plan = sweep.plan()
            for job in plan.jobs:
                if job.number == int(path.name):
                    return of_job(plan.command, job.varied)
        return None
    try:
        words = json.loads((path / COMMAND).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return [str(word) for word in words if not _about_the_sweep(str(word))]


def of_job(command: Sequence[str], varied: Mapping[str, object]) -> list[str]:
    """The overrides of a sweep's job.

    Args:
        command: what was typed for the sweep.
        varied: the job's values of the swept keys.
    """
    left = dict(varied)
    words = []
    for word in command:
        key = word.partition("=")[0]
        if key.lstrip("+") in left:
            prefix = "+" * (len(key) - len(key.lstrip("+")))
            words.append(f"{prefix}{key.lstrip('+')}={_text(left.pop(key.lstrip('+')))}")
        elif not _about_the_sweep(word):
            words.append(word)
    return [*words, *(f"{key}={_text(value)}" for key, value in left.items())]


def _about_the_sweep(word: str) -> bool:
    key = word.partition("=")[0].lstrip("+~")
    return any(key == name or key.startswith((f"{name}.", f"{name}/")) for name in _OF_THE_SWEEP)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
