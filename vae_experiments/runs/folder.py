"""A run's folder: what is in it and how the run stands.

config.yaml     the composed config, enough to repeat the run
command.json    the overrides that were typed; of a sweep's job, the sweep's plan has them
run.json        name, signature, status, number of processes
run.log         everything that was said
checkpoints/    last, previous, best
figures/        the pictures
film/           what the training film is made of, an epoch a file
diagnosis.json  what is wrong with the model, once it is trained
evaluation/     what it was measured to be worth
journal.jsonl   what was recorded, sent to MLflow or still to be sent
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from vae_experiments.errors import InputError, RunFailed
from vae_experiments.files import write_atomically
from vae_experiments.lock import is_held
from vae_experiments.yaml_text import parse_yaml

COMMAND = "command.json"

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True)
class RunInfo:
    """What run.json holds.

    Args:
        signature: "" for a run that failed before it could be put together, and for a sweep.
        reason: why it FAILED, in one line.
        processes: that train it together, started by torchrun.
    """

    name: str
    signature: str
    status: Status
    reason: str = ""
    processes: int = 1


@dataclass(frozen=True)
class RunFolder:
    """The files of one run."""

    path: Path

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def figures(self) -> Path:
        return self.path / "figures"

    @property
    def begun(self) -> bool:
        """Whether training was begun here: False for a folder that holds no more than a planned config."""
        return (self.path / "run.json").is_file() and bool(self.info().signature)

    def write_config(self, config: dict[str, Any]) -> None:
        self._write("config.yaml", yaml.safe_dump(config, sort_keys=False))

    def write_command(self, words: Sequence[str]) -> None:
        self._write(COMMAND, json.dumps(list(words)) + "\n")

    def config(self) -> dict[str, Any]:
        """The composed config, as plain containers."""
        try:
            config = parse_yaml((self.path / "config.yaml").read_text())
        except (OSError, yaml.YAMLError) as error:
            raise InputError(f"{self.path / 'config.yaml'}: cannot be read ({error.__class__.__name__})") from error
        if not isinstance(config, dict):
            raise InputError(f"{self.path / 'config.yaml'}: is not a run's config")
        return config

    def write_info(self, info: RunInfo) -> None:
        self._write("run.json", json.dumps(asdict(info), indent=2) + "\n")

    def info(self) -> RunInfo:
        """As last written; a run whose process is gone and that still says RUNNING was KILLED."""
        try:
            info = RunInfo(**json.loads((self.path / "run.json").read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"{self.path}: is not a run's folder (run.json is missing or damaged)") from error
        return replace(info, status="KILLED") if info.status == "RUNNING" and not is_held(self.path) else info

    def set_status(self, status: Status, reason: str = "") -> None:
        self.write_info(replace(self.info(), status=status, reason=reason))

    def record_failure(self, reason: str) -> None:
        """Notes that the run failed, also where it had not got as far as its run.json."""
        known = (self.path / "run.json").is_file()
        info = self.info() if known else RunInfo(self.path.name, "", "FAILED")
        self.write_info(replace(info, status="FAILED", reason=reason))

    def forget_failure(self) -> None:
        """Before a failed run is tried again, so that what it says then is of this try."""
        if not (self.path / "run.json").is_file():
            return
        if not self.begun:
            (self.path / "run.json").unlink()
        elif self.info().status == "FAILED":
            self.set_status("KILLED")

    def refuse_if_used(self) -> None:
        """Raises InputError when the folder already holds a run: two runs must never mix."""
        if any((self.path / name).exists() for name in ("run.json", "journal.jsonl", "checkpoints")):
            raise InputError(f"{self.path}: already holds a run; choose another folder, or `vae resume` that one")

    def _write(self, name: str, text: str) -> None:
        target = self.path / name
        try:
            write_atomically(target, [text.encode()])
        except OSError as error:
            raise RunFailed(f"cannot write {target}: {error.strerror}") from error


def unfinished_folders(*roots: Path) -> list[RunFolder]:
    """Runs and sweeps in `roots` that stopped before their end and that no process holds, newest first.

    Those that were killed come before those that failed, which may well fail again. The jobs of a sweep are
    its own affair.
    """
    found: list[tuple[bool, float, RunFolder]] = []
    for path in (path for root in roots for name in ("run.json", "plan.json") for path in root.glob(f"*/{name}")):
        folder = RunFolder(path.parent)
        with suppress(InputError, OSError):  # another command may be at work on it
            begun = (folder.path / "run.json").is_file()
            if path.name == "plan.json" and begun:
                continue
            status = folder.info().status if begun else "KILLED"  # a sweep that had not got beyond its plan
            if status in ("KILLED", "FAILED") and not is_held(folder.path):
                found.append((status == "KILLED", path.stat().st_mtime, folder))
    return [folder for _, _, folder in sorted(found, key=lambda item: item[:2], reverse=True)]
