"""The frame of every verb but train: a config of its own, no folder of its own, REF allowed as a bare word."""

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from vae_experiments.config.construct import construct
from vae_experiments.config.hydra_app import NO_FOLDER, run_hydra

T = TypeVar("T")


def run_verb(verb: str, arguments: Sequence[str], schema: type[T], command: Callable[[T], None]) -> None:
    """Composes conf/<verb>.yaml, checks it against the dataclass `schema`, and calls `command` with it."""

    def task(plain: dict[str, Any], _: str) -> None:
        command(construct(schema, plain))

    run_hydra(verb, [*arguments, *NO_FOLDER], task)


def ref_first(arguments: Sequence[str], schema: type) -> list[str]:
    """Turns a bare first word into run=<it>: `vae resume outputs/x` for `vae resume run=outputs/x`.

    A word with a "=" may be a run's name too, such as "latent_dim=8 kl_weight=4": it is an override
    only where it begins with a key of `schema`, the verb's own.
    """
    if not arguments or arguments[0].startswith("-"):
        return list(arguments)
    keys = {"hydra", *(field.name for field in dataclasses.fields(schema))}
    if overridden(arguments[0]) in keys:
        return list(arguments)
    return [f"run={quote(arguments[0])}", *arguments[1:]]


def overridden(word: str) -> str | None:
    """The key at the root of the config that an override is about; None for what is no override."""
    key, equals, _ = word.partition("=")
    if not equals and not word.startswith("~"):  # ~key deletes
        return None
    return re.split(r"[./@:]", key.lstrip("+~"), maxsplit=1)[0]


def quote(text: str) -> str:
    """`text` as a value that means just that: to OmegaConf no interpolation, to Hydra's grammar a string."""
    plain = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)
    # A backslash means itself, except before a quote.
    escaped = re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + found[2].replace("'", "\\'"), plain)
    return f"'{escaped}'"
