"""What the figures were taken on."""

import datetime
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import psutil

# Instruction sets that matrix products are made of.
MATTERING = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8", "asimd", "bf16")


def machine() -> str:
    """In a sentence's part: processor, cores, what multiplies matrices there, memory, versions, and how busy it is."""
    model, flags = processor()
    return (
        f"{model}, {os.cpu_count()} hardware threads ({', '.join(flags) or 'unknown instruction sets'}), "
        f"{psutil.virtual_memory().total / 2**30:.0f} GiB, {platform.system()}, Python {platform.python_version()}, "
        f"torch {version('torch')}; load at the beginning {os.getloadavg()[0]:.1f}"
    )


def today() -> str:
    """The date."""
    return datetime.date.today().isoformat()


def commit() -> str:
    """What is checked out, with a plus where more than the bench's own pages has been changed since."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":(exclude,top)docs/benchmarks*.md")
    return git("rev-parse", "--short", "HEAD") + ("+" if changed else "") or "unknown"


def processor() -> tuple[str, list[str]]:
    """Its name, and which of the mattering instruction sets it has, as Linux tells them."""
    described: dict[str, str] = {}
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        pairs = (line.partition(":") for line in cpuinfo.read_text().splitlines())
        described = {key.strip(): value.strip() for key, _, value in pairs}
    has = described.get("flags", described.get("Features", "")).split()
    return described.get("model name", platform.processor()), [flag for flag in MATTERING if flag in has]
