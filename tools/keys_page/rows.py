"""Keys as the rows of a table."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keys_page.composed import target_name, target_of
from keys_page.files import shown
from keys_page.sentences import sentences
from keys_page.signatures import annotations_of, documented, kind, takes
from vae_experiments.objectives import Schedule


@dataclass(frozen=True)
class Row:
    """A key: what it takes, what it is unless it is set, what it is about."""

    key: str
    takes: str
    default: str
    about: str


def rows_of(target: type, values: Mapping[str, Any], section: str, comments: Mapping[str, str]) -> list[Row]:
    """A row for each key of a section that `target` takes."""
    annotations, described = annotations_of(target), documented(target)
    rows = []
    for key, value in values.items():
        path = f"{section}.{key}" if section else key
        about = [described.get(key, ""), comments.get(path, "")]
        annotation = annotations.get(key, Any)
        part = target_of(value) if isinstance(value, Mapping) else None
        if part is not None and not issubclass(part, Schedule):
            keys = {name: each for name, each in value.items() if name != "_target_"}
            rows.append(Row(path, "a class", f"`{part.__name__}`", described.get(key, "")))
            rows += rows_of(part, keys, path, comments)
            continue
        if part is not None:  # a schedule's keys stand in its own group
            default = f"`{target_name(value)}` with " + ", ".join(
                f"`{name}={shown(each)}`" for name, each in value.items() if name != "_target_"
            )
        else:
            default = "required" if value == "???" else f"`{shown(value)}`"
        rows.append(Row(path, takes(annotation) or kind(value), default, sentences(about)))
    return rows


def table(rows: list[Row]) -> str:
    """Markdown."""
    lines = ["| key | takes | default | |", "|---|---|---|---|"]
    for row in rows:
        cells = (f"`{row.key}`", row.takes, row.default, row.about)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"
