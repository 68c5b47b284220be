"""What the files of conf/ say themselves: their comments, headers and defaults."""

import re
from pathlib import Path
from typing import Any

import yaml

from keys_page.sentences import sentences
from vae_experiments.config.paths import conf_dir


def comments_of(path: Path, section: str = "") -> dict[str, str]:
    """By key, as "sweep.jobs": the comment on its line, after those on the lines right above it."""
    text = path.read_text()
    lines = text.splitlines()
    prefix = "" if "@package _global_" in lines[0] else section
    found: dict[str, str] = {}

    def walk(node: yaml.Node, above: str) -> None:
        if not isinstance(node, yaml.MappingNode):
            return
        for key, value in node.value:
            name = f"{above}.{key.value}" if above else str(key.value)
            first = key.start_mark.line
            before: list[str] = []
            while first > 0 and lines[first - 1].lstrip().startswith("#"):
                first -= 1
                before.insert(0, lines[first].strip().lstrip("# "))
            if first == 0:  # the file's own header
                before = []
            end = value.end_mark if value.start_mark.line == key.start_mark.line else key.end_mark
            beside = re.search(r"(?:^|\s)#\s*(.*)", lines[key.start_mark.line][end.column :])
            said = sentences([" ".join(before), beside[1] if beside else ""])
            if said:
                found[name] = said
            walk(value, name)

    root = yaml.compose(text)
    if root is not None:
        walk(root, prefix)
    return found


def header_of(path: Path, of: str = "") -> str:
    """The comment that a file opens with, as one line, without the words `of`."""
    lines = []
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            lines.append(line.lstrip("# "))
    return " ".join(lines).removeprefix(of)


def base_of(path: Path) -> str | None:
    """The choice of the same group that a file builds on."""
    listed = (yaml.safe_load(path.read_text()) or {}).get("defaults", [])
    return next((each for each in listed if isinstance(each, str) and each != "_self_"), None)


def usual_choice(group: str) -> str | None:
    """The choice that conf/train.yaml or conf/sweep/default.yaml makes."""
    wanted = {group, f"override /{group}"}
    for file in ("train.yaml", "sweep/default.yaml"):
        for each in yaml.safe_load((conf_dir() / file).read_text())["defaults"]:
            if isinstance(each, dict) and wanted & each.keys():
                return str(next(iter(each.values())))
    return None


def shown(value: Any) -> str:
    """A value as it is typed."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6).strip().removesuffix("...").strip()
    return text.strip("'") if isinstance(value, str) else re.sub(r", ", ",", text)
