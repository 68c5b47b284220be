"""What was typed, parted into what every job has and what varies."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from vae_experiments.config.suggest import did_you_mean
from vae_experiments.errors import InputError


@dataclass(frozen=True)
class Typed:
    """Overrides, the later of two on the same key winning.

    Args:
        fixed: as typed, the same for every job.
        swept: of each swept key or group, by its name, the parsed override.
        groups: those of `swept` that choose a file of conf/, such as "architecture" or "schedule@objective.kl_weight".
        added: those of `swept` that were typed with a + before them.
    """

    fixed: list[str]
    swept: dict[str, Override]
    groups: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)


def part(loader: ConfigLoader, params: Mapping[str, Any], arguments: Sequence[str]) -> Typed:
    """Parts a sweep's overrides.

    Args:
        loader: Hydra's, which knows the groups.
        params: overrides that a config file brings, hydra.sweeper.params; what is typed wins over them.
        arguments: overrides that were typed.
    """
    lines = [f"{key}={'null' if value is None else value}" for key, value in params.items()]
    parsed = OverridesParser.create(config_loader=loader).parse_overrides([*lines, *arguments])
    last: dict[str, Override] = {}
    for override in parsed:
        name = override.get_key_element().lstrip("+")
        last.pop(name, None)  # so that it stands where it was typed last
        last[name] = override
    typed = Typed([], {})
    for name, override in last.items():
        if not override.is_sweep_override():
            assert override.input_line is not None
            typed.fixed.append(override.input_line)
            continue
        if name.split(".")[0] in ("sweep", "plan", "hydra", "name", "tracking"):
            raise InputError(f"{override.input_line}: is the same for a whole sweep, so it has one value")
        typed.swept[name] = override
        if loader.get_group_options(override.key_or_group, results_filter=ObjectType.CONFIG):
            typed.groups.append(name)
        if override.is_add() or override.is_force_add():
            typed.added.append(name)
    return typed


def values(override: Override) -> list[Any]:
    """The values of a discrete sweep, in their order.

    Raises:
        InputError: a continuous range, which only a search can draw from.
    """
    if not override.is_discrete_sweep():
        raise InputError(f"{override.input_line}: a range without steps is for a search: add hydra/sweeper=optuna")
    parser = OverridesParser.create()
    key = override.get_key_element()
    return [parser.parse_override(f"{key}={text}").value() for text in override.sweep_string_iterator()]


def combinations(swept: Mapping[str, Sequence[Any]], zipped: Sequence[str]) -> list[dict[str, Any]]:
    """Every combination of the values, the last key varying fastest; `zipped` keys take theirs in step.

    Args:
        swept: values of each key.
        zipped: keys among them that are paired, not crossed; they vary where the first of them stands.

    Raises:
        InputError: a zipped key is not swept, or they have different numbers of values.
    """
    for key in zipped:
        if key not in swept:
            known = did_you_mean(key, swept) if swept else "nothing is: give it several values, as key=a,b"
            raise InputError(f"sweep.zip: {key} is not swept; {known}")
    counts = {key: len(swept[key]) for key in zipped}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{key} has {count}" for key, count in counts.items())
        raise InputError(f"sweep.zip: zipped keys need as many values each: {told}")
    axes: list[list[dict[str, Any]]] = []
    for key in swept:
        if key not in zipped:
            axes.append([{key: value} for value in swept[key]])
        elif key == next(each for each in swept if each in zipped):
            axes.append([{each: swept[each][i] for each in zipped} for i in range(counts[key])])
    merged = [{key: value for part in parts for key, value in part.items()} for parts in itertools.product(*axes)]
    return [{key: each[key] for key in swept} for each in merged]
