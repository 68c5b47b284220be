"""What a run ran on: packages, machine and code, as files in the run's folder."""

import importlib.metadata
import json
import os
import platform
import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

import vae_experiments

_MAX_DIFF = 1 << 20  # bytes
_GIT_SECONDS = 10


@dataclass(frozen=True)
class Code:
    """Which source ran.

    Args:
        commit: of the package's checkout; None where it is not one, or has no commit.
        diff: what differs from that commit, untracked files named at its top; "" where nothing does.
        note: why `commit` is None.
    """

    commit: str | None
    diff: str = ""
    note: str = ""


def capture(folder: Path) -> Code:
    """Writes packages.txt, machine.json and, for changed code, uncommitted.diff into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    code = source_code(Path(vae_experiments.__file__).parent)
    (folder / "packages.txt").write_text(packages(), encoding="utf-8")
    about = machine() | {"git_commit": code.commit, "git_note": code.note}
    (folder / "machine.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    if code.diff:
        (folder / "uncommitted.diff").write_text(code.diff, encoding="utf-8")
    else:
        (folder / "uncommitted.diff").unlink(missing_ok=True)  # of an earlier start in the same folder
    return code


@cache
def packages() -> str:
    """Installed distributions, one `name==version` a line, sorted.

    Looked up once, in a sweep by the process that its jobs are forked from: what was imported stays, too.
    """
    # Read once for each: every look at a distribution's name parses the whole file again.
    about = (distribution.metadata for distribution in importlib.metadata.distributions())
    found = {f"{each['Name']}=={each['Version']}" for each in about if each["Name"]}  # a half-removed one has none
    return "".join(f"{line}\n" for line in sorted(found, key=str.lower))


def machine() -> dict[str, object]:
    """The system, processor, memory (bytes), accelerators, Python and PyTorch of this process."""
    import torch  # here, so that git and packages can be read without it

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "host": platform.node(),
        "os": platform.platform(),
        "python": platform.python_version(),
        "cpu": _cpu_model(),
        "cores": psutil.cpu_count(logical=False),
        "logical_cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": gpus or (["Apple MPS"] if torch.backends.mps.is_available() else []),
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
    }


def source_code(folder: Path) -> Code:
    """Commit and uncommitted changes of the checkout that `folder` belongs to."""
    # A package installed below someone's repository is no part of it: it has to be a tracked folder.
    tracked = _git(folder, "ls-files", "--error-unmatch", "--", "__init__.py")
    if isinstance(tracked, str):
        return Code(None, note=tracked)
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    if isinstance(commit, str):
        return Code(None, note=commit)
    name = commit.decode().strip()
    status = _git(folder, "status", "--porcelain", "--untracked-files=normal")
    if isinstance(status, str):
        return Code(name, note=status)
    if not status.strip():
        return Code(name)
    diff = _git(folder, "diff", "--no-ext-diff", "--no-textconv", "--no-color", "HEAD", "--", ":/")
    if isinstance(diff, str):
        return Code(name, note=diff)
    head = "".join(f"# {line}\n" for line in status.decode("utf-8", "replace").splitlines())
    body = diff[:_MAX_DIFF].decode("utf-8", "replace")
    cut = f"\n# cut here: {len(diff)} bytes in all\n" if len(diff) > _MAX_DIFF else ""
    return Code(name, f"{head[:_MAX_DIFF]}{body}{cut}")


def _git(folder: Path, *arguments: str) -> bytes | str:
    """What git prints; or, as str, why it could not be asked."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    # A repository's own settings may name programs to run: not here.
    command = ["git", "-c", "core.fsmonitor=false", "-C", os.fspath(folder), *arguments]
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=_GIT_SECONDS
        )
    except FileNotFoundError:
        return "git is not installed"
    except subprocess.TimeoutExpired:
        return f"git took over {_GIT_SECONDS} s"
    except OSError as error:
        return f"git could not be run: {error}"
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        return said[0] if said else f"git ended with status {done.returncode}"
    return done.stdout


def _cpu_model() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found.group(1) if found else platform.processor() or platform.machine()
