"""The frame of every verb but train: a config of its own, no folder of its own, REF allowed as a bare word."""

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


def ref_first(arguments: Sequence[str]) -> list[str]:
    """Turns a bare first word into run=<it>: `vae resume outputs/x` for `vae resume run=outputs/x`."""
    if arguments and "=" not in arguments[0] and not arguments[0].startswith(("-", "~", "+")):
        quoted = arguments[0].replace("\\", "\\\\").replace("'", "\\'")
        return [f"run='{quoted}'", *arguments[1:]]
    return list(arguments)
