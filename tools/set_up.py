"""Makes the virtual environment that the Makefile works in; called by it, with the interpreter to use.

It runs before anything is installed, maybe under a Python that is too old: standard library, plain syntax.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

OLDEST, TOO_NEW = (3, 11), (3, 14)
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
READY = VENV / ".ready"  # newer than what the environment is made from: nothing to do
UNFINISHED = VENV / ".unfinished"  # a set-up was interrupted: half a package may lie there, so begin again
INPUTS = [ROOT / "pyproject.toml", ROOT / "constraints.txt", Path(__file__).resolve()]


def main() -> None:
    """Makes or updates the environment; says in one line what it does and in one that it is done."""
    if not OLDEST <= sys.version_info < TOO_NEW:
        sys.exit(
            f"This needs Python 3.11, 3.12 or 3.13, and {sys.executable} is {sys.version.split()[0]}.\n"
            "Name another one, for example: make setup PYTHON=python3.12"
        )
    with Path(__file__).open("r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Waiting for the set-up that another make has begun ...", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_ready():
            set_up()


def is_ready() -> bool:
    """Whether the last set-up finished, and nothing that it used has changed since."""
    changed = max(path.stat().st_mtime for path in INPUTS)
    return PYTHON.exists() and READY.exists() and READY.stat().st_mtime >= changed


def set_up() -> None:
    """Installs everything, into the environment that is there if it is whole, else into a new one."""
    start = time.monotonic()
    if PYTHON.exists() and not UNFINISHED.exists():
        print("Updating .venv ...", flush=True)
        READY.unlink(missing_ok=True)
        UNFINISHED.touch()
    else:
        print(f"Making .venv with Python {sys.version.split()[0]}; this takes a few minutes ...", flush=True)
        shutil.rmtree(VENV, ignore_errors=True)
        VENV.mkdir()
        UNFINISHED.touch()
        make_venv()
    # The pins hold for what pip builds from source too: an old pip takes them from the first name, a new one
    # from the second.
    pins = {name: str(ROOT / "constraints.txt") for name in ("PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT")}
    install = [str(PYTHON), "-m", "pip", "install", "-qq", "--disable-pip-version-check", "-e", ".[dev]"]
    failed = subprocess.run(install, cwd=ROOT, env={**os.environ, **pins}).returncode != 0
    UNFINISHED.unlink()  # pip takes back what it began when it fails
    if failed:
        sys.exit("pip could not install everything; what it says above is why. The next make tries again.")
    READY.touch()
    print(f"Ready after {time.monotonic() - start:.0f} s.", flush=True)


def make_venv() -> None:
    """An empty environment with pip; says what to install where Python came without the means."""
    try:
        import ensurepip  # noqa: F401
        import venv
    except ImportError:
        version = ".".join(map(str, sys.version_info[:2]))
        sys.exit(
            f"{sys.executable} cannot make virtual environments: that part of it is packaged apart.\n"
            f"On Debian and Ubuntu, as root: apt install python{version}-venv"
        )
    venv.create(VENV, symlinks=True, with_pip=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Interrupted; the next make begins the set-up again.")
