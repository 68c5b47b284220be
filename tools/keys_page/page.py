"""The page: a section for each group of choices and for each verb."""

import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import hydra
import yaml

from keys_page.composed import annotated, chosen, composed, given_later, target_of
from keys_page.files import base_of, comments_of, header_of, shown, usual_choice
from keys_page.rows import Row, rows_of, table
from keys_page.signatures import parameters, summary
from vae_experiments.cli import VERBS
from vae_experiments.config.construct import PACKAGE
from vae_experiments.config.paths import conf_dir
from vae_experiments.config.resolvers import register_resolvers
from vae_experiments.runs.config import RunConfig
from vae_experiments.sweeps.config import SweepConfig
from vae_experiments.sweeps.executors.slurm import SlurmExecutor
from vae_experiments.sweeps.search_settings import SearchSettings

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
    "teacher": "a small network that learns first, and shows the other where images lie",
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
    config = composed("train", [])
    keys = {key: config[key] for key in ("seed", "name")}
    yield table([*rows_of(RunConfig, keys, "", comments), *rows_of(SweepConfig, config["sweep"], "sweep", comments)])
    yield f"`plan`, by default `false`: {comments['plan']}.\n"
    yield "`hydra.run.dir` and `hydra.sweep.dir` name the folders of a run and of a sweep, else named by the time.\n"


def _group(group: str) -> Iterator[str]:
    yield f"## {group}\n"
    if group == "schedule":
        yield "`schedule` stands for the weight whose number it replaces: `objective.kl_weight.end=4`.\n"
    choices = sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))
    usual = usual_choice(group)
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
        base = base_of(path)
        own = yaml.safe_load(path.read_text()) or {}
        if base is not None:
            changed = "; ".join(
                f"`{section}.{key}={shown(value)}`" for key, value in own.items() if key not in ("defaults", "_target_")
            )
            yield f"As `{group}={base}`, but for {changed}.\n"
            continue
        node = chosen(group, choice)
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
            target = target_of(hook)
            assert target is not None
            rows.append(Row(f"hooks.{name}", "a hook, or null", f"`{target.__name__}`", summary(target)))
            keys = {key: value for key, value in hook.items() if key != "_target_"}
            rows += rows_of(target, keys, f"hooks.{name}", comments)
        yield table(rows)
        return
    target = CLASSES.get((group, choice)) or target_of(node) or annotated(group)
    keys = {key: value for key, value in node.items() if not key.startswith("_")}
    nested = {key for key in keys if f"{group}/{key}" in GROUPS}
    if target is None:
        yield table(
            [
                Row(f"{section}.{key}", "", f"`{shown(v)}`", comments.get(f"{section}.{key}", ""))
                for key, v in keys.items()
            ]
        )
        return
    rows = rows_of(target, {key: value for key, value in keys.items() if key not in nested}, section, comments)
    new = [row for row in rows if row not in told]
    if new:
        yield table(new)
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
    further = [name for name in parameters(target) if name not in keys and name not in given_later(group)]
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
        config = composed(verb, [])
        groups = [name for name in parameters(schema) if name in GROUPS]
        keys = {key: value for key, value in config.items() if key not in groups}
        rows = rows_of(schema, keys, "", comments_of(path))
        if rows:
            yield table(rows)
        if groups:
            yield f"And the keys of {', '.join(f'[`{name}`](#{_anchor(name)})' for name in groups)}.\n"
