"""The groups, choices and keys of a verb's config, read from its YAML files: composing takes too long."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from vae_experiments.completion.schema import Where, choices, class_of
from vae_experiments.yaml_text import parse_yaml


@dataclass(frozen=True)
class Key:
    """A key that a config has.

    Args:
        value: what it is when nobody says otherwise.
        comment: what its file says of it.
    """

    value: object
    comment: str = ""


@dataclass
class Groups:
    """What can be said of one verb's config.

    Args:
        verb: its name.
        folders: where configs are: the built-in ones, then the user's.
        typed: groups that the line already makes a choice of.
    """

    verb: str
    folders: Sequence[Path]
    typed: Mapping[str, str]
    chosen: dict[str, str | None] = field(default_factory=dict)  # group: choice
    keys: dict[str, Key] = field(default_factory=dict)  # by their full names
    _classes: dict[str, Where] = field(default_factory=dict)  # of sections that name one

    def __post_init__(self) -> None:
        self._read(self.verb, "")
        experiment = self.typed.get("experiment")
        if experiment and "experiment" in self.chosen:
            self._read_overrides(experiment)
        for group, choice in [*self.chosen.items()]:
            name = self.typed.get(group, choice)
            if name and group != "experiment":
                self._read(f"{group}/{name}", group)
        if self.verb == "train":
            self.chosen |= {"hydra/launcher": "local", "hydra/sweeper": "grid"}

    def options(self, group: str) -> list[str]:
        """The choices of a group."""
        return sorted({path.stem for folder in self.folders for path in (folder / group).glob("*.yaml")})

    def values(self, key: str) -> list[str]:
        """The values that a key may have, where its type counts them up."""
        section, _, name = key.rpartition(".")
        owner = self._classes.get(section) or self._class_of(section)
        return choices(owner, name) if owner else []

    def _class_of(self, section: str) -> Where | None:
        title = self.verb.title()
        root = ("runs.config", "RunConfig") if self.verb == "train" else (f"verbs.{self.verb}", f"{title}Config")
        owner: Where | None = (f"vae_experiments.{root[0]}", root[1])
        for name in section.split(".") if section else []:
            owner = class_of(owner, name) if owner else None
        return owner

    def _read_overrides(self, experiment: str) -> None:
        for item in self._load(f"experiment/{experiment}")[0].get("defaults", []):
            for group, choice in item.items() if isinstance(item, dict) else ():
                if str(group).startswith("override /"):
                    self.chosen[str(group).removeprefix("override /")] = choice

    def _read(self, name: str, group: str) -> None:
        """Takes up the keys of one file, and of those that its list of defaults names."""
        config, text = self._load(name)
        for item in config.pop("defaults", []):
            if isinstance(item, str) and item != "_self_":
                self._read(f"{group}/{item}" if group else item, group)
            for key, choice in item.items() if isinstance(item, dict) else ():
                if str(key).startswith("override "):
                    continue
                inner = f"{group}/{key}" if group else str(key)
                self.chosen[inner] = choice
                if group and self.typed.get(inner, choice):
                    self._read(f"{inner}/{self.typed.get(inner, choice)}", inner)
        comments = dict(re.findall(r"^ *(\w+):.*? # (.*)$", text, re.MULTILINE))
        at_root = not group or "@package _global_" in text.partition("\n")[0]
        self._flatten(config, "" if at_root else group.replace("/", ".") + ".", comments)

    def _flatten(self, config: Mapping[str, Any], prefix: str, comments: Mapping[str, str]) -> None:
        for name, value in config.items():
            if name == "_target_":
                self._classes[prefix[:-1]] = _where(str(value))
            elif isinstance(value, Mapping) and value:
                if name != "hydra":
                    self._flatten(value, f"{prefix}{name}.", comments)
            else:
                self.keys[f"{prefix}{name}"] = Key(value, comments.get(str(name), ""))

    def _load(self, name: str) -> tuple[dict[str, Any], str]:
        """A file's content and its text; nothing of one that is not there, or that is being written."""
        for folder in self.folders:
            path = folder / f"{name}.yaml"
            try:
                text = path.read_text(encoding="utf-8")
                found = parse_yaml(text)
            except (OSError, ValueError, yaml.YAMLError):
                continue
            return (found, text) if isinstance(found, dict) else ({}, text)
        return {}, ""


def _where(target: str) -> Where:
    module, _, name = target.rpartition(".")
    return module, name


def sections(keys: Iterator[str], typed: str) -> Iterator[str]:
    """Full names cut behind the first dot that is not typed yet: `architecture.` for all of its keys."""
    for key in keys:
        if key.startswith(typed):
            rest, dot, _ = key[len(typed) :].partition(".")
            yield typed + rest + dot
