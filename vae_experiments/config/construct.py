"""Turns a plain config into typed objects; a constructor's signature is its schema.

A mapping with a `_target_` becomes an instance of that class, a mapping without one an instance of
the dataclass that the annotation names. Unknown, missing, wrongly typed and out-of-range keys are
refused before anything is built, each by its full path.
"""

import dataclasses
import functools
import importlib
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import pydantic

from vae_experiments.config.suggest import did_you_mean
from vae_experiments.errors import InputError

T = TypeVar("T")

PACKAGE = "vae_experiments"
# What a config that was read from a stored run may name without being asked.
TRUSTED = (PACKAGE, "torch.optim")


@dataclass(frozen=True)
class Later:
    """Marks a component that is built later, when the arguments named here are known.

    `Annotated[Callable[..., Prior], Later("latent_dim")]` receives a partial of the component.
    """

    arguments: tuple[str, ...]

    def __init__(self, *arguments: str) -> None:
        object.__setattr__(self, "arguments", arguments)


def construct(target: type[T], node: Mapping[str, Any], *, trusted: Sequence[str] | None = None) -> T:
    """An instance of the dataclass `target` from a plain mapping.

    Args:
        target: the root of the schema.
        node: plain containers only.
        trusted: packages whose classes `_target_` may name; None for any (a config the user typed).

    Raises:
        InputError: with the path of the key that is wrong.
    """
    built: T = _construct(target, node, "", (), trusted)()
    return built


def find_target(name: object, path: str, trusted: Sequence[str] | None) -> type:
    """The class that a `_target_` names.

    Nothing is imported that `trusted` does not cover, and a class must be defined where it is trusted:
    being reachable through a trusted module is not enough.
    """
    key = f"{path}._target_" if path else "_target_"
    if not isinstance(name, str) or "." not in name:
        raise InputError(f"{key}={name}: must be the full name of a class, such as my_package.MyClass")
    if trusted is not None and not _within(name, trusted):
        raise InputError(
            f"{key}={name}: a stored config may only name classes of {', '.join(trusted)}; "
            f"if you trust this one, add trust=[{name.split('.')[0]}]"
        )
    module_name, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(f"{key}={name}: cannot be imported ({error})") from error
    if not isinstance(found, type):
        raise InputError(f"{key}={name}: is not a class")
    if trusted is not None and not _within(f"{found.__module__}.{found.__qualname__}", trusted):
        raise InputError(f"{key}={name}: is defined in {found.__module__}, which is not trusted")
    return found


def _within(name: str, packages: Sequence[str]) -> bool:
    return any(name.startswith(package + ".") for package in packages)


def _construct(
    target: type, node: Mapping[str, Any], path: str, later: tuple[str, ...], trusted: Sequence[str] | None
) -> Callable[..., Any]:
    """Checks `node` against the target's signature; returns what builds it, `later` arguments open."""
    parameters, open_ended = _parameters(target, later)
    values: dict[str, Any] = {}
    for key, value in node.items():
        where = f"{path}.{key}" if path else str(key)
        if key not in parameters and not open_ended:
            raise InputError(f"{where}: no such key; {did_you_mean(str(key), parameters)}")
        annotation = parameters[key][0] if key in parameters else Any
        values[str(key)] = _component(value, annotation, where, trusted)
    _check(target, parameters, values, path)
    return _Builder(target, values, path)


@dataclass(frozen=True)
class _Builder:
    """Calls the target; a refusal of its own constructor names the section of the config it came from."""

    target: Callable[..., Any]
    values: dict[str, Any]
    path: str

    def __call__(self, *args: Any, **later: Any) -> Any:
        try:
            return self.target(*args, **{**self.values, **later})
        except InputError:
            raise
        except (TypeError, ValueError) as error:
            name = getattr(self.target, "__qualname__", str(self.target))
            raise InputError(f"{self.path or 'config'}: {name} refused its arguments: {error}") from error


def _component(value: Any, annotation: Any, path: str, trusted: Sequence[str] | None) -> Any:
    """Builds what is a component inside `value`, at any depth; leaves plain values as they are."""
    annotation, metadata = _strip(annotation)
    if isinstance(value, Mapping):
        later = next((mark.arguments for mark in metadata if isinstance(mark, Later)), None)
        if "_target_" in value:
            target = find_target(value["_target_"], path, trusted)
            rest = {key: item for key, item in value.items() if key != "_target_"}
            builder = _construct(target, rest, path, later or (), trusted)
            return builder if later is not None else builder()
        if later is not None or (inspect.isclass(annotation) and inspect.isabstract(annotation)):
            raise InputError(f"{path}: needs a _target_, the full name of the class to use")
        if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
            return _construct(annotation, value, path, (), trusted)()
        item_annotation = get_args(annotation)[1] if len(get_args(annotation)) == 2 else Any
        return {key: _component(item, item_annotation, f"{path}.{key}", trusted) for key, item in value.items()}
    if isinstance(value, list):
        item_annotation = get_args(annotation)[0] if get_args(annotation) else Any
        return [_component(item, item_annotation, f"{path}[{i}]", trusted) for i, item in enumerate(value)]
    return value


def _strip(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """The annotation without Annotated[] and Optional[], and the metadata it carried."""
    metadata: tuple[Any, ...] = ()
    while True:
        if get_origin(annotation) is Annotated:
            annotation, *extra = get_args(annotation)
            metadata += tuple(extra)
        elif get_origin(annotation) in (Union, types.UnionType):
            # A component or a plain value (kl_weight: float | Schedule): the class is what a mapping can become.
            choices = [choice for choice in get_args(annotation) if choice is not type(None)]
            mapped = [c for c in choices if isinstance(_strip(c)[0], type) and _strip(c)[0] not in _PLAIN]
            annotation = (mapped or choices)[0]
        else:
            return annotation, metadata


_PLAIN = (bool, int, float, str)


@functools.cache
def _parameters(target: type, later: tuple[str, ...]) -> tuple[dict[str, tuple[Any, Any]], bool]:
    """(annotation, default) of each keyword the target takes from a config; whether it takes any keyword."""
    signature = inspect.signature(target)
    try:
        hints = typing.get_type_hints(target.__init__, include_extras=True)  # type: ignore[misc]
        if dataclasses.is_dataclass(target):
            hints = typing.get_type_hints(target, include_extras=True) | hints
    except (NameError, AttributeError):  # annotations that only a type checker can read
        hints = {}
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = {
        name: (hints.get(name, Any), ... if parameter.default is parameter.empty else parameter.default)
        for name, parameter in signature.parameters.items()
        if parameter.kind in kinds and name not in later
    }
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in signature.parameters.values())
    return parameters, open_ended


def _check(target: type, parameters: dict[str, tuple[Any, Any]], values: dict[str, Any], path: str) -> None:
    """Types, ranges and missing keys. What is not a kind of ours (an optimizer, say) checks its own types."""
    ours = any(base.__module__.split(".")[0] == PACKAGE for base in target.__mro__)
    fields: dict[str, Any] = {
        name: (_checkable(annotation) if ours else Any, default) for name, (annotation, default) in parameters.items()
    }
    try:
        _model(target, tuple(fields), fields)(**values)
    except pydantic.ValidationError as error:
        raise InputError(_one_line(error, path)) from None


_models: dict[tuple[type, tuple[str, ...]], type[pydantic.BaseModel]] = {}


def _model(target: type, names: tuple[str, ...], fields: dict[str, Any]) -> type[pydantic.BaseModel]:
    if (target, names) not in _models:
        # Aliases carry the real names: pydantic reserves some (schema, copy, json) as attributes.
        aliased: dict[str, Any] = {
            f"f{i}": (annotation, pydantic.Field(default, alias=name))
            for i, (name, (annotation, default)) in enumerate(fields.items())
        }
        config = pydantic.ConfigDict(strict=True, extra="allow", arbitrary_types_allowed=True, allow_inf_nan=False)
        _models[target, names] = pydantic.create_model(target.__qualname__, __config__=config, **aliased)
    return _models[target, names]


def _checkable(annotation: Any) -> Any:
    """The annotation with dataclasses as classes to be instances of: they are built already."""
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        return Annotated[(_checkable(inner), *metadata)]
    if get_origin(annotation) in (Union, types.UnionType):
        return Union[tuple(_checkable(choice) for choice in get_args(annotation))]  # noqa: UP007
    if get_origin(annotation) in (dict, list):
        arguments = tuple(_checkable(argument) for argument in get_args(annotation))
        return get_origin(annotation)[arguments]
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return pydantic.InstanceOf[annotation]  # type: ignore[misc]
    return annotation


def _one_line(error: pydantic.ValidationError, path: str) -> str:
    """Every complaint of a section as "path=value: what is wrong", joined by semicolons."""
    complaints: dict[str, list[str]] = {}  # a union has one for each of its choices
    for item in error.errors():
        # The key and the places in its lists; what else pydantic adds are the names of a union's choices.
        keys = [str(item["loc"][0]), *(str(part) for part in item["loc"][1:] if isinstance(part, int))]
        where = ".".join([path, *keys] if path else keys)
        if item["type"] == "missing":
            complaints[f"{where}: is missing"] = []
        else:
            message = item["msg"][0].lower() + item["msg"][1:]
            complaints.setdefault(f"{where}={item['input']!r}: ", []).append(message.replace("input should", "should"))
    return "; ".join(where + " or ".join(messages) for where, messages in complaints.items())
