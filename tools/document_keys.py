"""Writes docs/keys.md: every config key, from the classes that take it and the YAML files that set it.

`make docs` runs it; `--check` only says whether the page is what it would write.
"""

import argparse
import dataclasses
import inspect
import re
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import annotated_types
import hydra
import yaml
from omegaconf import DictConfig, OmegaConf

from vae_experiments.cli import VERBS
from vae_experiments.config.construct import PACKAGE, Later, find_target
from vae_experiments.config.paths import conf_dir
from vae_experiments.config.resolvers import register_resolvers
from vae_experiments.objectives import Schedule
from vae_experiments.runs.config import RunConfig
from vae_experiments.sweeps.config import SweepConfig
from vae_experiments.sweeps.executors.slurm import SlurmExecutor
from vae_experiments.sweeps.search_settings import SearchSettings

PAGE = Path(__file__).parents[1] / "docs" / "keys.md"

# In the order of conf/train.yaml. Of each: what it is about, in a few words.
GROUPS = {
    "dataset": "which images",
    "dataset/split": "which of them train, validate, test",
    "architecture": "the networks",
    "posterior": "q(z | x)",
    "prior": "p(z)",
    "likelihood": "p(x | z)",
    "objective": "what is minimised",
    "schedule": "weights that move: `+schedule@objective.kl_weight=linear_warmup`",
    "optimizer": "how weights are updated",
    "scheduler": "how the learning rate moves",
    "trainer": "how long, on what, how carefully",
    "hooks": "what happens around the training loop",
    "figures": "what is drawn",
    "evaluation": "what is measured on a trained model",
    "tracking": "where runs are recorded",
    "hydra/sweeper": "how a sweep chooses its values",
    "hydra/launcher": "where a sweep's jobs run",
    "experiment": "whole experiments by name",
    "table": "published tables, for `vae reproduce`",
}
NAMES_ONLY = ("experiment", "table")  # choices without keys of their own
# What Hydra itself builds with arguments of its own, which are no keys.
CLASSES: dict[tuple[str, str], type] = {
    ("hydra/sweeper", "optuna"): SearchSettings,
    ("hydra/launcher", "slurm"): SlurmExecutor,
}
WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false", dict: "a mapping"}
PYTHON = {"None": "null", "True": "true", "False": "false"}  # as docstrings have it, and YAML
NAMED = {2**32 - 1: "2^32 - 1", 2**63: "2^63"}
BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
INTRODUCTION = """\
# Every key

Written by `make docs` from the classes that take the keys and from the files in `conf/`; a test keeps it so.

- A **choice** of a group is made with `dataset=mnist5k`, a **key** is set with `architecture.latent_dim=8`. The choice
  that is made unless you say otherwise is in bold.
- `vae train --cfg job` prints every key of a run with its value. `vae train --help` lists the choices, those of your
  own (`--config-dir`) among them.
- A key that no file names, such as `optimizer.amsgrad`, is added with a plus: `+optimizer.amsgrad=true`.
- The default is what the file says. `required` has none and must be given. `${...}` takes another key's value.
- Types and ranges are checked before any data is read.
"""


@dataclasses.dataclass(frozen=True)
class Row:
    """A key: what it takes, what it is unless it is set, what it is about."""

    key: str
    takes: str
    default: str
    about: str


def page() -> str:
    """The whole page."""
    register_resolvers()
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        parts = [INTRODUCTION, _contents(), *_root(), *(part for group in GROUPS for part in _group(group)), *_verbs()]
    return "\n".join(parts).rstrip() + "\n"


def _contents() -> str:
    lines = [f"- [`{group}`](#{_anchor(group)}): {about}" for group, about in GROUPS.items()]
    verbs = ", ".join(f"[{verb}](#vae-{verb})" for verb in VERBS if verb != "train")
    return "\n".join(
        ["- [keys of a run itself](#a-run-and-a-sweep)", *lines, f"- keys of the other verbs: {verbs}", ""]
    )


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _root() -> Iterator[str]:
    yield "## A run and a sweep\n"
    yield "`conf/train.yaml`; the keys of `sweep` are for `vae train -m`.\n"
    comments = {**comments_of(conf_dir() / "train.yaml"), **comments_of(conf_dir() / "sweep" / "default.yaml")}
    config = _composed("train", [])
    keys = {key: config[key] for key in ("seed", "name")}
    yield _table([*_rows(RunConfig, keys, "", comments), *_rows(SweepConfig, config["sweep"], "sweep", comments)])
    yield f"`plan`, by default `false`: {comments['plan']}.\n"
    yield "`hydra.run.dir` and `hydra.sweep.dir` name the folders of a run and of a sweep, else named by the time.\n"


def _group(group: str) -> Iterator[str]:
    yield f"## {group}\n"
    if group == "schedule":
        yield "`schedule` stands for the weight whose number it replaces: `objective.kl_weight.end=4`.\n"
    choices = sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))
    usual = _usual(group)
    section = group.replace("/", ".")
    if group in NAMES_ONLY:
        for choice in choices:
            path = conf_dir() / group / f"{choice}.yaml"
            yield f"- `{choice}`: {yaml.safe_load(path.read_text()).get('title') or header_of(path)}"
        yield ""
        return
    told: list[Row] = []
    for choice in [usual, *(each for each in choices if each != usual)] if usual in choices else choices:
        path = conf_dir() / group / f"{choice}.yaml"
        name = f"**`{group}={choice}`**" if choice == usual else f"`{group}={choice}`"
        said = header_of(path)
        yield f"{name}{': ' + said if said else ''}\n"
        base = _base(path)
        own = yaml.safe_load(path.read_text()) or {}
        if base is not None:
            changed = "; ".join(
                f"`{section}.{key}={_shown(value)}`"
                for key, value in own.items()
                if key not in ("defaults", "_target_")
            )
            yield f"As `{group}={base}`, but for {changed}.\n"
            continue
        node = _chosen(group, choice)
        if not isinstance(node, Mapping):
            yield f"Nothing: `{section}` is null.\n"
            continue
        yield from _section(group, choice, section, node, comments_of(path, section), told)


def _section(
    group: str, choice: str, section: str, node: Mapping[str, Any], comments: Mapping[str, str], told: list[Row]
) -> Iterator[str]:
    """The table of one choice; rows that are `told` are named only, and those of its own are added to them."""
    if group == "hooks":
        rows = []
        for name, hook in node.items():
            target = _target(hook)
            assert target is not None
            rows.append(Row(f"hooks.{name}", "a hook, or null", f"`{target.__name__}`", _summary(target)))
            keys = {key: value for key, value in hook.items() if key != "_target_"}
            rows += _rows(target, keys, f"hooks.{name}", comments)
        yield _table(rows)
        return
    target = CLASSES.get((group, choice)) or _target(node) or _annotated(group)
    keys = {key: value for key, value in node.items() if not key.startswith("_")}
    nested = {key for key in keys if f"{group}/{key}" in GROUPS}
    if target is None:
        yield _table(
            [
                Row(f"{section}.{key}", "", f"`{_shown(v)}`", comments.get(f"{section}.{key}", ""))
                for key, v in keys.items()
            ]
        )
        return
    rows = _rows(target, {key: value for key, value in keys.items() if key not in nested}, section, comments)
    new = [row for row in rows if row not in told]
    if new:
        yield _table(new)
    if len(new) < len(rows):
        yield f"As above: {', '.join(f'`{row.key}`' for row in rows if row in told)}.\n"
    if not rows and not nested:
        yield "No keys.\n"
    told += new
    for key in sorted(nested):
        usual = next(
            str(each[key]) for each in yaml.safe_load((conf_dir() / group / f"{choice}.yaml").read_text())["defaults"]
        )
        yield f"`{group}/{key}`: [`{usual}`](#{_anchor(f'{group}/{key}')}) unless another is chosen.\n"
    further = [name for name in _parameters(target) if name not in keys and name not in _given_later(group)]
    if further and group not in ("tracking", "hydra/launcher"):
        yield f"With a plus: {', '.join(f'`+{section}.{name}`' for name in further)}.\n"


def _verbs() -> Iterator[str]:
    for verb in VERBS:
        if verb == "train":
            continue
        yield f"## vae {verb}\n"
        module = import_module(f"{PACKAGE}.verbs.{verb}")
        schema = next(
            (each for name, each in vars(module).items() if name.lower() == f"{verb.replace('-', '_')}config"), None
        )
        if schema is None:
            yield f"`vae {verb} --help` says more.\n"
            continue
        path = conf_dir() / f"{verb}.yaml"
        yield f"{header_of(path, of=f'vae {verb}: ')}\n"
        config = _composed(verb, [])
        groups = [name for name in _parameters(schema) if name in GROUPS]
        keys = {key: value for key, value in config.items() if key not in groups}
        rows = _rows(schema, keys, "", comments_of(path))
        if rows:
            yield _table(rows)
        if groups:
            yield f"And the keys of {', '.join(f'[`{name}`](#{_anchor(name)})' for name in groups)}.\n"


def _rows(target: type, values: Mapping[str, Any], section: str, comments: Mapping[str, str]) -> list[Row]:
    """A row for each key of a section that `target` takes."""
    annotations, described = _annotations(target), documented(target)
    rows = []
    for key, value in values.items():
        path = f"{section}.{key}" if section else key
        about = [described.get(key, ""), comments.get(path, "")]
        annotation = annotations.get(key, Any)
        if isinstance(value, Mapping) and "_target_" in value:  # a schedule: its keys stand in its own group
            default = f"`{_target_name(value)}` with " + ", ".join(
                f"`{name}={_shown(each)}`" for name, each in value.items() if name != "_target_"
            )
        else:
            default = "required" if value == "???" else f"`{_shown(value)}`"
        rows.append(Row(path, takes(annotation) or _kind(value), default, sentences(about)))
    return rows


def _table(rows: list[Row]) -> str:
    lines = ["| key | takes | default | |", "|---|---|---|---|"]
    for row in rows:
        cells = (f"`{row.key}`", row.takes, row.default, row.about)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def sentences(texts: list[str]) -> str:
    """Texts one after another; of two that say much the same, the longer."""
    kept: list[str] = []
    for text in (text.rstrip(".") for text in texts if text):
        same = next((i for i, other in enumerate(kept) if _overlap(text, other)), None)
        if same is None:
            kept.append(text)
        else:
            kept[same] = max(kept[same], text, key=len)
    return "; ".join(kept)


def _overlap(one: str, other: str) -> bool:
    """Whether half of the words of the shorter one stand in both, endings left aside."""
    words = [{word[:4] for word in re.findall(r"\w{4,}", text.lower())} for text in (one, other)]
    shorter = min(len(each) for each in words)
    return 2 * len(words[0] & words[1]) >= shorter


def takes(annotation: Any) -> str:
    """A type as people read it: "a whole number, at least 1, or null"."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is Any or annotation is inspect.Parameter.empty:
        return ""
    if annotation is type(None):
        return "null"
    if origin is Annotated:
        inner, *metadata = arguments
        if any(isinstance(mark, Later) for mark in metadata):
            return ""
        limits = [_bound(mark) for mark in metadata]
        return ", ".join([takes(inner), *(limit for limit in limits if limit)])
    if origin in (Union, types.UnionType):
        return ", or ".join(dict.fromkeys(takes(each) for each in arguments))
    if origin is Literal:
        return ", ".join(f"`{each}`" for each in arguments)
    if origin in (list, Sequence):
        inside = re.sub(r"^a (whole )?number", r"\1numbers", takes(arguments[0])) if arguments else ""
        return f"a list of {inside}" if inside else "a list"
    if origin is tuple:
        inside = re.sub(r"^a (whole )?number", r"\1numbers", takes(arguments[0]))
        return f"a list of {len(arguments)} {inside}"
    if origin is dict:
        return "a mapping"
    if annotation in WORDS:
        return WORDS[annotation]
    if isinstance(annotation, type) and issubclass(annotation, Schedule):
        return "a [schedule](#schedule)"
    if dataclasses.is_dataclass(annotation):
        return "a section"
    return f"a `{getattr(annotation, '__name__', annotation)}`"


def _kind(value: Any) -> str:
    """What a class that does not say takes, by the value that a file gives it."""
    return "" if isinstance(value, str) else takes(float if type(value) in (int, float) else type(value))


def _bound(mark: Any) -> str:
    if isinstance(mark, annotated_types.MinLen):
        return f"{mark.min_length} at least"
    for name, words in BOUNDS.items():
        if isinstance(mark, getattr(annotated_types, name.capitalize())):
            value = getattr(mark, name)
            return f"{words} {NAMED.get(value, f'{value:g}' if isinstance(value, float) else value)}"
    return ""


def documented(target: type) -> dict[str, str]:
    """What the docstrings of a class and of its bases say of each argument."""
    found: dict[str, str] = {}
    for base in reversed(target.__mro__):
        if base.__module__.split(".")[0] != PACKAGE:
            continue
        section = inspect.cleandoc(base.__doc__ or "").partition("\nArgs:\n")[2]
        section = re.split(r"\n\n?(?=\S)", section)[0]
        for names, text in re.findall(r"^ {4}([\w, ]+): (.*(?:\n {5,}.*)*)", section, re.MULTILINE):
            said = re.sub(r"\b(None|True|False)\b", lambda word: PYTHON[word[0]], " ".join(text.split()))
            found |= {name.strip(): said for name in names.split(",")}
    return found


def _summary(target: type) -> str:
    return " ".join(inspect.cleandoc(target.__doc__ or "").partition("\n\n")[0].split())


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


def _base(path: Path) -> str | None:
    """The choice of the same group that a file builds on."""
    listed = (yaml.safe_load(path.read_text()) or {}).get("defaults", [])
    return next((each for each in listed if isinstance(each, str) and each != "_self_"), None)


def _usual(group: str) -> str | None:
    """The choice that conf/train.yaml or conf/sweep/default.yaml makes."""
    wanted = {group, f"override /{group}"}
    for file in ("train.yaml", "sweep/default.yaml"):
        for each in yaml.safe_load((conf_dir() / file).read_text())["defaults"]:
            if isinstance(each, dict) and wanted & each.keys():
                return str(next(iter(each.values())))
    return None


def _composed(verb: str, overrides: list[str], with_hydra: bool = False) -> dict[str, Any]:
    config = hydra.compose(config_name=verb, overrides=overrides, return_hydra_config=with_hydra)
    plain = OmegaConf.to_container(config, resolve=False)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _chosen(group: str, choice: str) -> Any:
    """The config section that a choice makes, its interpolations open."""
    if group == "dataset/split":
        return _composed("train", [f"dataset/split={choice}"])["dataset"]["split"]
    if group == "schedule":
        return _composed("train", [f"+schedule@objective.kl_weight={choice}"])["objective"]["kl_weight"]
    config = OmegaConf.create(_composed("train", [f"{group}={choice}"], group.startswith("hydra/")))
    assert isinstance(config, DictConfig)
    node = OmegaConf.select(config, group.replace("/", "."))
    return OmegaConf.to_container(node, resolve=False) if node is not None else None


def _target(node: Mapping[str, Any]) -> type | None:
    name = str(node.get("_target_", ""))
    return None if not name or name.startswith("hydra_plugins.") else find_target(name, "", None)


def _target_name(node: Mapping[str, Any]) -> str:
    return str(node["_target_"]).rpartition(".")[2]


def _annotated(group: str) -> type | None:
    """The class that a run's config names for a section without a `_target_`."""
    annotation = get_type_hints(RunConfig).get(group)
    return annotation if isinstance(annotation, type) else None


def _given_later(group: str) -> tuple[str, ...]:
    """Arguments that a component is given when it is built, and that are no keys."""
    annotation = get_type_hints(RunConfig, include_extras=True).get(group)
    marks = [mark for part in (annotation, *get_args(annotation)) for mark in getattr(part, "__metadata__", ())]
    return next((mark.arguments for mark in marks if isinstance(mark, Later)), ())


def _parameters(target: Callable[..., Any]) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [name for name, each in inspect.signature(target).parameters.items() if each.kind in kinds]


def _annotations(target: type) -> dict[str, Any]:
    try:
        hints = get_type_hints(target.__init__, include_extras=True)  # type: ignore[misc]
        if dataclasses.is_dataclass(target):
            hints |= get_type_hints(target, include_extras=True)
    except (NameError, AttributeError):  # annotations that only a type checker can read
        return {}
    ours = target.__module__.split(".")[0] == PACKAGE
    return hints if ours else {}


def _shown(value: Any) -> str:
    """A value as it is typed."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6).strip().removesuffix("...").strip()
    return text.strip("'") if isinstance(value, str) else re.sub(r", ", ",", text)


def main() -> int:
    """Writes the page, or with --check compares; the exit status is 1 where it is stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether docs/keys.md is up to date")
    arguments = parser.parse_args()
    text = page()
    if not arguments.check:
        PAGE.write_text(text)
        return 0
    fresh = PAGE.exists() and PAGE.read_text() == text
    print(f"{PAGE.name} is {'up to date' if fresh else 'stale: make docs'}")
    return 0 if fresh else 1


if __name__ == "__main__":
    sys.exit(main())
