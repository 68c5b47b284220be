"""What docs/troubleshooting.md quotes is what the program prints."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from vae_experiments.cli import main

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "troubleshooting.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("line", [line for block in blocks("text") for line in block.splitlines()])
def test_the_program_has_the_message(line: str) -> None:
    assert len(line.replace("...", "")) > 10
    assert any(line.strip(".") in message for message in messages())


def test_a_command_that_is_shown_with_its_answer_gets_it(capsys: pytest.CaptureFixture[str]) -> None:
    shown = re.findall(r"^\$ vae (.*)\n(.*)$", "".join(blocks("console")), re.MULTILINE)
    assert shown
    for words, answer in shown:
        assert main(words.split()) == 2
        assert capsys.readouterr().err.splitlines()[-1] == answer


@cache
def messages() -> tuple[str, ...]:
    """Every text in the package's source, with ... for the values that are filled in."""
    return tuple(found for path in sorted((ROOT / "vae_experiments").rglob("*.py")) for found in texts(path))


def texts(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield re.sub(r"%[sdg]", "...", node.value)
        elif isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "..." for part in node.values)
