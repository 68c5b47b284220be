"""The peers' own environments, each made of a file that pins all it holds: peers/NAME.txt into .environments/NAME."""

import shutil
import subprocess
import sys
from pathlib import Path

from child import HERE, Failed, last_line


def python_of(name: str) -> Path:
    """The interpreter of that environment, which is made first if it is not there or its pins have changed.

    Raises:
        Failed: pip could not install something.
    """
    folder, pins = HERE / ".environments" / name, HERE / "peers" / f"{name}.txt"
    python, ready = folder / "bin" / "python", folder / ".ready"
    if ready.exists() and ready.read_text() == pins.read_text():
        return python
    print(f"making the environment of {name}; this takes a minute or two ...", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", str(pins)]
    for command in ([sys.executable, "-m", "venv", str(folder)], install):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"its environment could not be made: {last_line(done.stderr or done.stdout)}")
    ready.write_text(pins.read_text())
    return python
