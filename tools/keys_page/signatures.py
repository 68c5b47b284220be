"""What a class takes, in words: its annotations and its docstrings."""

import dataclasses
import inspect
import re
import types
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import annotated_types

from vae_experiments.config.construct import PACKAGE, Later
from vae_experiments.objectives import Schedule

WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false", dict: "a mapping"}
PYTHON = {"None": "null", "True": "true", "False": "false"}  # as docstrings have it, and YAML
NAMED = {2**32 - 1: "2^32 - 1", 2**63: "2^63"}
BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


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


def kind(value: Any) -> str:
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


def summary(target: type) -> str:
    """The first paragraph of a docstring, as one line."""
    return " ".join(inspect.cleandoc(target.__doc__ or "").partition("\n\n")[0].split())


def parameters(target: Callable[..., Any]) -> list[str]:
    """The names of what can be given by name."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [name for name, each in inspect.signature(target).parameters.items() if each.kind in kinds]


def annotations_of(target: type) -> dict[str, Any]:
    """By argument; none for classes that are not this package's, whose annotations are not checked."""
    try:
        hints = get_type_hints(target.__init__, include_extras=True)  # type: ignore[misc]
        if dataclasses.is_dataclass(target):
            hints |= get_type_hints(target, include_extras=True)
    except (NameError, AttributeError):  # annotations that only a type checker can read
        return {}
    ours = target.__module__.split(".")[0] == PACKAGE
    return hints if ours else {}
