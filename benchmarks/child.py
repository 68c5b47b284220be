"""One measurement, in a process and an environment of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PATIENCE = 600  # seconds for any one of them


class Failed(Exception):
    """Why there is no measurement, in a line."""


def measured(module: str, *arguments: object, threads: int, python: Path | str = sys.executable) -> dict[str, Any]:
    """What a program prints as its last line, a JSON object.

    Args:
        module: its name as a module, from here.
        arguments: of its command line.
        threads: OpenMP's.
        python: the interpreter of its environment.

    Raises:
        Failed: it did not end well.
    """
    command = [str(python), "-m", module, *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, cwd=HERE, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"{module} took more than {PATIENCE} s") from None
    if done.returncode != 0:
        raise Failed(f"{module}: {last_line(done.stderr) or f'exit status {done.returncode}'}")
    answer: dict[str, Any] = json.loads(last_line(done.stdout))
    return answer


def last_line(text: str) -> str:
    """Of what a process said; empty if it said nothing."""
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""
