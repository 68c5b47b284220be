"""From `vae train -m` to a sweep under way: everything is composed, checked and written down first."""

import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, OmegaConf

from vae_experiments.config.construct import construct
from vae_experiments.console import console
from vae_experiments.errors import InputError
from vae_experiments.lock import NAME as RUN_LOCK
from vae_experiments.lock import RunLock
from vae_experiments.runs.command import own_configs
from vae_experiments.runs.plan import Job, Plan, job_name, short_names
from vae_experiments.runs.signature import source_digest
from vae_experiments.runs.sweep_folder import SweepFolder
from vae_experiments.sweeps.capacity import Capacity, jobs_at_once
from vae_experiments.sweeps.child import in_child
from vae_experiments.sweeps.compose import (
    Draft,
    Templates,
    compose_templates,
    job_config,
    only_plans,
    without_doubles,
)
from vae_experiments.sweeps.config import SweepConfig
from vae_experiments.sweeps.cost import Cost, largest
from vae_experiments.sweeps.executors import build_executor, is_local
from vae_experiments.sweeps.overrides import Typed, combinations, part, values
from vae_experiments.sweeps.plan_table import PlanTable
from vae_experiments.tracking.address import resolve_uri, shown_override, without_password
from vae_experiments.tracking.config import TrackingConfig

log = logging.getLogger(__name__)

_HERE = {"_target_": "vae_experiments.sweeps.executors.local.LocalExecutor"}
_STORED_OTHERWISE = ("hydra.mode", "hydra.searchpath", "hydra.sweep.dir")
JOB_SUBDIR = "???"  # none was given


@dataclass(frozen=True)
class Command:
    """What Hydra hands to its sweeper.

    Args:
        loader: composes.
        master: the sweep's own composed config.
        params: swept keys that the config brings.
        arguments: the overrides that were typed.
    """

    loader: ConfigLoader
    master: DictConfig
    params: Mapping[str, Any]
    arguments: Sequence[str]

    def __post_init__(self) -> None:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise InputError("torchrun trains one model on several processes; a sweep starts its own: type it alone")

    @property
    def settings(self) -> SweepConfig:
        """Raises InputError for a sweep.* key that is wrong."""
        plain = OmegaConf.to_container(self.master.sweep, resolve=True)
        assert isinstance(plain, dict)
        try:
            return construct(SweepConfig, {str(key): value for key, value in plain.items()})
        except InputError as error:
            raise InputError(f"sweep.{error}") from error

    @property
    def only_plans(self) -> bool:
        """Whether the plan is all that is asked for. Raises InputError where that is not said."""
        return only_plans(self.master.plan)

    @property
    def launcher(self) -> dict[str, Any]:
        """What runs the jobs, as plain config."""
        plain = OmegaConf.to_container(self.master.hydra.launcher, resolve=True)
        assert isinstance(plain, dict)
        return {str(key): value for key, value in plain.items()}

    @property
    def folder(self) -> SweepFolder:
        """Where the sweep goes."""
        sweep = OmegaConf.to_container(self.master.hydra.sweep, resolve=False)
        assert isinstance(sweep, dict)
        if sweep["subdir"] != JOB_SUBDIR:
            raise InputError("hydra.sweep.subdir: a job's folder is its number; hydra.sweep.dir=... names the sweep's")
        return SweepFolder(Path(str(self.master.hydra.sweep.dir)).absolute())

    @property
    def words(self) -> list[str]:
        """The overrides that were typed, as they may be stored; not those that name the sweep's folder, taken now."""
        mode = [str(word) for word in self.master.hydra.overrides.hydra]
        mode = [word for word in mode if word.partition("=")[0].lstrip("+") not in _STORED_OTHERWISE]
        own = own_configs(self.master.hydra.runtime.config_sources)
        return [*map(shown_override, [*mode, *self.arguments]), *own]

    def parted(self) -> Typed:
        """What is fixed, and what varies."""
        return part(self.loader, self.params, self.arguments)

    def templates(self, typed: Typed, choices: Mapping[str, Sequence[Any]]) -> Templates:
        """The jobs' configs, given the choices of every swept group."""
        groups = {key: [str(choice) for choice in choices[key]] for key in typed.groups}
        return compose_templates(self.loader, self.master, typed.fixed, groups, typed.added)

    def name(self, keys: Iterable[str]) -> str:
        """The sweep's: as asked for, else its experiment's, else by what varies."""
        experiment = self.master.hydra.runtime.choices.get("experiment")
        name = self.master.name or (experiment if experiment not in (None, "null") else None)
        return str(name or " x ".join(short_names(list(keys)).values()) or "sweep")


def start_grid(command: Command) -> None:
    """Plans, and unless only the plan was asked for runs, every combination of the swept values.

    Raises:
        InputError: a job cannot work; nothing was started.
        RunFailed: jobs failed; each was reported.
        Interrupted: a signal; the jobs under way have saved their state.
    """
    settings, folder, typed = command.settings, command.folder, command.parted()
    build_executor(command.launcher, folder.path, jobs=1, gpus=0).close()  # refuses what cannot run jobs
    swept = {key: values(override) for key, override in typed.swept.items()}
    for key, several in swept.items():
        if not several:
            raise InputError(f"{key}: has no value to sweep over")
    templates = command.templates(typed, swept)
    drafts, dropped = without_doubles(
        [_draft(templates, varied, command.name(swept)) for varied in combinations(swept, settings.zip)]
    )
    tracking = _tracking(drafts[0].config)
    _import_ahead(command, tracking)
    costs, capacity = _size_up([draft.config for draft in drafts], len(drafts), settings, command.launcher)
    plan = _plan(command, settings, list(swept), drafts, costs)
    console.print(PlanTable(plan, costs, capacity, dropped))
    if command.only_plans:
        return
    from vae_experiments.runs.runner import check_store
    from vae_experiments.sweeps.run import Terms, run_sweep

    with _taken(folder):
        check_store(tracking)  # else what is written here could never be resumed
        jobs = [
            folder.write_job(i, draft.name, draft.varied, job_config(draft.config, draft.name, capacity.threads))
            for i, draft in enumerate(drafts)
        ]
        folder.write_plan(replace(plan, jobs=jobs))
        run_sweep(folder, Terms(tracking), capacity)


def start_search(command: Command, keys: Mapping[str, Any]) -> None:
    """Plans and runs a search; `keys` are its sweeper's but for `params`. Raises as `start_grid`."""
    from vae_experiments.sweeps.search_settings import SearchSettings, plan_search  # Optuna is optional
    from vae_experiments.sweeps.space import Choice

    settings, folder, typed = command.settings, command.folder, command.parted()
    if settings.zip:
        raise InputError("sweep.zip: a search draws its values; leave it out")
    build_executor(command.launcher, folder.path, jobs=1, gpus=0).close()
    search = plan_search(keys, typed.swept)
    space = SearchSettings.from_plain(search, trusted=None).space
    for group in typed.groups:
        assert isinstance(space[group], Choice)
    choices = {key: list(dimension.values) for key, dimension in space.items() if isinstance(dimension, Choice)}
    templates = command.templates(typed, choices)
    # The two corners of the space: what any trial costs lies between them, and what cannot work shows.
    corners = [
        {key: dimension.values[end] if isinstance(dimension, Choice) else (dimension.low, dimension.high)[end]
         for key, dimension in space.items()}
        for end in (0, -1)
    ]  # fmt: skip
    samples = [Draft("", varied, templates.config(varied)) for varied in corners]
    tracking = _tracking(samples[0].config)
    _import_ahead(command, tracking)
    costs, capacity = _size_up([draft.config for draft in samples], int(search["n_trials"]), settings, command.launcher)
    plan = _plan(command, settings, list(space), samples, costs)
    open_bases = {choices: without_password(base) for choices, base in templates.bases.items()}
    stored = {
        "settings": {**search, "study": search["study"] or folder.path.name},  # the folder may be renamed
        "templates": asdict(replace(templates, bases=open_bases)),
        "threads": capacity.threads,
    }
    plan = replace(plan, jobs=[], search=stored)
    console.print(PlanTable(plan, costs, capacity))
    if command.only_plans:
        return
    from vae_experiments.runs.runner import check_store
    from vae_experiments.sweeps.run import Terms, run_sweep

    with _taken(folder):
        check_store(tracking)  # else what is written here could never be resumed
        folder.write_plan(plan)
        run_sweep(folder, Terms(tracking), capacity)


def plan_one(config: dict[str, Any]) -> None:
    """Shows what a single run would cost. Raises InputError when it cannot work."""
    costs, capacity = _size_up([config], 1, SweepConfig(), _HERE)
    plan = Plan(
        name=config["name"] or "one run", command=[], keys=[], jobs=[Job(0, config["name"] or "", {}, "")], at_once=1,
        peak_bytes=None, launcher=_HERE, tracking={}, on_failure="continue", code="",
    )  # fmt: skip
    console.print(PlanTable(plan, costs, capacity))


def _import_ahead(command: Command, tracking: TrackingConfig) -> None:
    """What a sweep needs, and its plan does not: MLflow. The server of its jobs imports as much at this time.

    Raises:
        InputError: the address of the store can never be one.
    """
    in_database = tracking.enabled and not resolve_uri(tracking.uri).startswith("http")
    if not command.only_plans:
        import_module("vae_experiments.sweeps.run")
        if in_database:
            import_module("mlflow.store.tracking.sqlalchemy_store")  # which MLflow imports at the first connection


def _plan(
    command: Command, settings: SweepConfig, keys: list[str], drafts: Sequence[Draft], costs: Sequence[Cost | None]
) -> Plan:
    return Plan(
        name=command.name(keys),
        command=command.words,
        keys=keys,
        jobs=[Job(i, draft.name, draft.varied, "") for i, draft in enumerate(drafts)],
        at_once=settings.jobs,
        peak_bytes=largest(costs),
        launcher=command.launcher,
        tracking=without_password(drafts[0].config)["tracking"],
        on_failure=settings.on_failure,
        code=source_digest(),
    )


def _draft(templates: Templates, varied: dict[str, Any], otherwise: str) -> Draft:
    return Draft(job_name(varied) or otherwise, varied, templates.config(varied))


def _size_up(
    configs: Sequence[dict[str, Any]], jobs: int, settings: SweepConfig, launcher: Mapping[str, Any]
) -> tuple[Sequence[Cost | None], Capacity]:
    """Checks every config by putting it together, and finds out what jobs cost and how many fit."""
    from vae_experiments.runs.config import RunConfig  # torch takes a second to import
    from vae_experiments.sweeps.estimate import estimate_plan, survey

    for number, config in enumerate(configs):  # here already: keys and ranges need no data and no child
        try:
            RunConfig.of(config)
        except InputError as error:
            raise InputError(f"job {number}: {error}") from error
    trainer = configs[0]["trainer"]
    threads = max((config["trainer"]["threads"] or 0 for config in configs), default=0) or None
    share: list[Any] = [jobs, None, str(trainer["device"]), threads]
    if not is_local(launcher):
        in_child(survey, configs, cwd=Path.cwd(), timeout=None)
        return [], Capacity(settings.jobs or jobs, int(launcher.get("cpus_per_task") or 1), "as the cluster has room")
    if not settings.estimate:
        in_child(survey, configs, cwd=Path.cwd(), timeout=None)
        return [], jobs_at_once(settings.jobs, *share)
    first = jobs_at_once(settings.jobs, *share)
    costs = estimate_plan(configs, first.threads, Path.cwd())
    share[1] = largest(costs)
    return costs, jobs_at_once(settings.jobs, *share)


@contextmanager
def _taken(folder: SweepFolder) -> Iterator[None]:
    """Holds a folder that is new, or has no more than the beginning of a plan that was cut short.

    Raises:
        InputError: something else lies there.
    """
    with RunLock(folder.path):
        for entry in folder.path.iterdir():
            if entry.name == RUN_LOCK:
                continue
            if folder.exists or not entry.name.isdigit() or {each.name for each in entry.iterdir()} - {"config.yaml"}:
                again = "`vae resume` it, or " if folder.exists else ""
                raise InputError(f"{folder.path}: already holds something: {again}choose another hydra.sweep.dir")
            shutil.rmtree(entry)
        yield


@dataclass(frozen=True, kw_only=True)
class _Recorded:
    """The part of a config that says where runs are recorded."""

    tracking: TrackingConfig


def _tracking(config: Mapping[str, Any]) -> TrackingConfig:
    return construct(_Recorded, {"tracking": config["tracking"]}).tracking
