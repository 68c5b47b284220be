"""The configs of a sweep's jobs: composed from conf/ once, so that a file edited later changes nothing."""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from vae_experiments.config.hydra_app import to_plain
from vae_experiments.errors import InputError
from vae_experiments.tracking.address import without_password

# Of the command, not of a run.
ABOUT_THE_SWEEP = ("sweep", "plan")


def only_plans(said: object) -> bool:
    """Whether the key `plan` asks for no more than the plan. Raises InputError where it says something else."""
    if not isinstance(said, bool):
        raise InputError(f"plan={'null' if said is None else said}: should be true or false")
    return said


@dataclass(frozen=True)
class Templates:
    """Composed configs with their interpolations still open, one for each combination of swept group choices.

    Args:
        groups: the swept groups, such as "architecture".
        added: swept keys, and groups, that the config does not name, typed as +key.
        bases: of each combination, its choices joined by "|", the config as plain containers.
    """

    groups: list[str]
    added: list[str]
    bases: dict[str, dict[str, Any]]

    def config(self, varied: Mapping[str, Any]) -> dict[str, Any]:
        """The resolved config of the job with these values of the swept keys and groups.

        Raises:
            OmegaConfBaseException: a key is not in the config.
            InputError: an interpolation leads nowhere.
        """
        config = OmegaConf.create(self.bases[_joined([varied[group] for group in self.groups])])
        OmegaConf.set_struct(config, True)
        for key, value in varied.items():
            if key not in self.groups:
                OmegaConf.update(config, key, value, merge=True, force_add=key in self.added)
        return to_plain(config)


def compose_templates(
    loader: ConfigLoader,
    master: DictConfig,
    fixed: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    added: Sequence[str],
) -> Templates:
    """Composes every combination of the choices of swept `groups`.

    Args:
        loader: Hydra's.
        master: the config of the sweep itself.
        fixed: overrides, as typed, that are the same for every job.
        groups: swept groups and their choices.
        added: swept keys, and groups, that no file names.

    Raises:
        HydraException: as any composition.
    """
    hydra_overrides = [str(each) for each in master.hydra.overrides.hydra]
    bases = {}
    for choices in itertools.product(*groups.values()):
        chosen = [
            f"{'+' if group in added else ''}{group}={choice}" for group, choice in zip(groups, choices, strict=True)
        ]
        config = loader.load_configuration(
            master.hydra.job.config_name, [*hydra_overrides, *fixed, *chosen], run_mode=RunMode.RUN
        )
        if groups and config.hydra.sweeper.get("params") != master.hydra.sweeper.get("params"):
            brings = next((each for each in chosen if each.startswith("experiment=")), chosen[0])
            raise InputError(f"{brings}: brings a sweep of its own (hydra.sweeper.params): give it alone")
        container = OmegaConf.to_container(config, resolve=False)
        assert isinstance(container, dict)
        bases[_joined(choices)] = {
            str(key): value for key, value in container.items() if key not in ("hydra", *ABOUT_THE_SWEEP)
        }
    return Templates(list(groups), list(added), bases)


@dataclass(frozen=True)
class Draft:
    """A job before it has a folder."""

    name: str
    varied: dict[str, Any]
    config: dict[str, Any]


def without_doubles(drafts: Sequence[Draft]) -> tuple[list[Draft], list[str]]:
    """The first of those that are the same but for their names, and the names of the others."""
    kept: dict[str, Draft] = {}
    dropped = []
    for draft in drafts:
        same = json.dumps({key: value for key, value in draft.config.items() if key != "name"}, sort_keys=True)
        if same in kept:
            dropped.append(draft.name)
        else:
            kept[same] = draft
    return list(kept.values()), dropped


def job_config(config: dict[str, Any], name: str, threads: int) -> dict[str, Any]:
    """A job's config as it is stored: with its name, its share of threads, and no password."""
    trainer = config["trainer"]
    share = trainer.get("threads") or threads
    return without_password({**config, "name": name or config.get("name"), "trainer": {**trainer, "threads": share}})


def _joined(choices: Sequence[object]) -> str:
    return "|".join(str(choice) for choice in choices)
