"""A sweep's folder: what is in it.

plan.json       what was decided before the first job started
run.json        name and status of the sweep
run.log         what its own process said
journal.jsonl   its parent run's record in MLflow
comparison/     table and pictures over all jobs
0/ 1/ 2/ ...    a run's folder for each job; its config.yaml is there from the beginning
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vae_experiments.errors import InputError, RunFailed
from vae_experiments.files import digest_file, write_atomically
from vae_experiments.runs.folder import RunFolder, RunInfo, Status
from vae_experiments.runs.plan import Job, Plan

PLAN = "plan.json"


@dataclass(frozen=True)
class SweepFolder:
    """The files of one sweep."""

    path: Path

    @property
    def exists(self) -> bool:
        return (self.path / PLAN).is_file()

    @property
    def comparison(self) -> Path:
        return self.path / "comparison"

    def job(self, job: Job) -> RunFolder:
        """The job's own folder."""
        return RunFolder(self.path / str(job.number))

    def plan(self) -> Plan:
        """Raises InputError where there is none, or a damaged one."""
        try:
            return Plan.from_json((self.path / PLAN).read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"{self.path}: is not a sweep's folder ({PLAN} is missing or damaged)") from error

    def write_plan(self, plan: Plan) -> None:
        """Raises RunFailed when the disk does not take it."""
        try:
            write_atomically(self.path / PLAN, [plan.to_json().encode()])
        except OSError as error:
            raise RunFailed(f"cannot write {self.path / PLAN}: {error.strerror}") from error

    def write_job(self, number: int, name: str, varied: Mapping[str, Any], config: dict[str, Any]) -> Job:
        """Puts a job's config into its folder, from where the job will read it.

        One that is there already stays: the job may have begun with it.

        Raises:
            RunFailed: the disk does not take it, or another config is there.
        """
        folder = RunFolder(self.path / str(number))
        path = folder.path / "config.yaml"
        if not path.is_file():
            try:
                folder.path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise RunFailed(f"cannot make {folder.path}: {error.strerror}") from error
            folder.write_config(config)
        elif folder.config() != config:
            raise RunFailed(f"{path}: is not what job {number} should have; start a new sweep")
        return Job(number, name, dict(varied), digest_file(path))

    def add_job(self, job: Job) -> None:
        """Adds a job that was decided while the sweep runs."""
        plan = self.plan()
        if all(known.number != job.number for known in plan.jobs):
            self.write_plan(replace(plan, jobs=[*plan.jobs, job]))

    def status(self) -> Status | None:
        """How the sweep stands; None before it began."""
        folder = RunFolder(self.path)
        return folder.info().status if (self.path / "run.json").is_file() else None

    def write_status(self, name: str, status: Status, reason: str = "") -> None:
        RunFolder(self.path).write_info(RunInfo(name, "", status, reason))
