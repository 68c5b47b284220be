"""What Hydra composes of the files, and which class takes it."""

from collections.abc import Mapping
from typing import Any, get_args, get_type_hints

import hydra
from omegaconf import DictConfig, OmegaConf

from vae_experiments.config.construct import Later, find_target
from vae_experiments.runs.config import RunConfig


def composed(verb: str, overrides: list[str], with_hydra: bool = False) -> dict[str, Any]:
    """The verb's config as plain containers, its interpolations open."""
    config = hydra.compose(config_name=verb, overrides=overrides, return_hydra_config=with_hydra)
    plain = OmegaConf.to_container(config, resolve=False)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def chosen(group: str, choice: str) -> Any:
    """The config section that a choice makes, its interpolations open."""
    if group == "dataset/split":
        return composed("train", [f"dataset/split={choice}"])["dataset"]["split"]
    if group == "schedule":
        return composed("train", [f"+schedule@objective.kl_weight={choice}"])["objective"]["kl_weight"]
    config = OmegaConf.create(composed("train", [f"{group}={choice}"], group.startswith("hydra/")))
    assert isinstance(config, DictConfig)
    node = OmegaConf.select(config, group.replace("/", "."))
    return OmegaConf.to_container(node, resolve=False) if node is not None else None


def target_of(node: Mapping[str, Any]) -> type | None:
    """The class of a section; None where the section names none, or one that only Hydra builds."""
    name = str(node.get("_target_", ""))
    return None if not name or name.startswith("hydra_plugins.") else find_target(name, "", None)


def target_name(node: Mapping[str, Any]) -> str:
    """The same by its bare name."""
    return str(node["_target_"]).rpartition(".")[2]


def annotated(group: str) -> type | None:
    """The class that a run's config names for a section without a `_target_`."""
    annotation = get_type_hints(RunConfig).get(group)
    return annotation if isinstance(annotation, type) else None


def given_later(group: str) -> tuple[str, ...]:
    """Arguments that a component is given when it is built, and that are no keys."""
    annotation = get_type_hints(RunConfig, include_extras=True).get(group)
    marks = [mark for part in (annotation, *get_args(annotation)) for mark in getattr(part, "__metadata__", ())]
    return next((mark.arguments for mark in marks if isinstance(mark, Later)), ())
