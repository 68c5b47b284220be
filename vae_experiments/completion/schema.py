"""The choices that a key's type allows, read from the source: importing it would take PyTorch's seconds."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import vae_experiments

Where = tuple[str, str]  # a module, and the name of a class in it


def choices(owner: Where, key: str) -> list[str]:
    """The values, as typed on a command line, of the key `key` of a class whose type is a Literal or bool."""
    found = _annotation(owner, key)
    values = list(dict.fromkeys(_values(*found))) if found else []
    return [] if values == ["null"] else values


def class_of(owner: Where, key: str) -> Where | None:
    """The class whose keys are those of the section `key`."""
    found = _annotation(owner, key)
    return next(_classes(*found), None) if found else None


def _annotation(owner: Where, key: str) -> tuple[str, ast.expr] | None:
    """The key's annotation, and the module whose names it uses: of a field, or of the constructor's argument."""
    module, node = _definition(*owner) or ("", None)
    if not isinstance(node, ast.ClassDef):
        return None
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and item.target.id == key:
            return module, item.annotation
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            for argument in (*item.args.args, *item.args.kwonlyargs):
                if argument.arg == key and argument.annotation is not None:
                    return module, argument.annotation
    bases = (_annotation((module, base.id), key) for base in node.bases if isinstance(base, ast.Name))
    return next((each for each in bases if each), None)


def _values(module: str, node: ast.expr) -> Iterator[str]:
    match node:
        case ast.Name(id="bool"):
            yield from ("true", "false")
        case ast.Name(id=name):
            found = _definition(module, name)
            if found and isinstance(found[1], ast.Assign | ast.AnnAssign) and found[1].value is not None:
                yield from _values(found[0], found[1].value)
        case ast.Constant(value=None):
            yield "null"
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            for item in inner.elts if isinstance(inner, ast.Tuple) else [inner]:
                if isinstance(item, ast.Constant):
                    yield str(item.value)
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[inner, *_])):
            yield from _values(module, inner)
        case ast.Subscript(value=ast.Name(id="list"), slice=inner):
            yield from _values(module, inner)
        case ast.BinOp(left=left, right=right):
            yield from (*_values(module, left), *_values(module, right))
        case _:
            return


def _classes(module: str, node: ast.expr) -> Iterator[Where]:
    match node:
        case ast.Name(id=name):
            found = _definition(module, name)
            if found and isinstance(found[1], ast.ClassDef):
                yield found[0], found[1].name
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[inner, *_])):
            yield from _classes(module, inner)
        case ast.BinOp(left=left, right=right):
            yield from (*_classes(module, left), *_classes(module, right))
        case _:
            return


@cache
def _definition(module: str, name: str) -> tuple[str, ast.stmt] | None:
    """Where a name is defined at a module's top, through the imports that lead there."""
    for node in _statements(module):
        match node:
            case ast.ClassDef(name=defined) if defined == name:
                return module, node
            case ast.Assign(targets=[ast.Name(id=defined)]) if defined == name:
                return module, node
            case ast.AnnAssign(target=ast.Name(id=defined)) if defined == name:
                return module, node
            case ast.ImportFrom(module=str(source), names=names):
                for each in names:
                    if (each.asname or each.name) == name:
                        return _definition(source, each.name)
            case _:
                pass
    return None


@cache
def _statements(module: str) -> list[ast.stmt]:
    """A module's source, of this package or beside where the user works; nothing of any other."""
    inside = Path(vae_experiments.__file__).parent.parent
    for root in [inside] if module.startswith("vae_experiments.") else [Path()]:
        base = root.joinpath(*module.split("."))
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            try:
                return ast.parse(path.read_text(encoding="utf-8")).body
            except (OSError, SyntaxError, ValueError):
                continue
    return []
