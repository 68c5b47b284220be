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
    """A Markdown list."""
    memory = psutil.virtual_memory().total / 2**30
    model, flags = processor()
    packages = ("vae-experiments", "torch", "numpy")
    lines = [
        f"processor: {model}, {psutil.cpu_count(logical=False)} cores, {os.cpu_count()} hardware threads",
        f"its instruction sets for matrices: {', '.join(flags) or 'unknown'}",
        f"memory: {memory:.0f} GiB",
        f"system: {platform.platform()}, Python {platform.python_version()}",
        f"versions: {', '.join(f'{package} {version(package)}' for package in packages)}",
        f"load when the last section was begun (a busy machine measures nothing): {os.getloadavg()[0]:.1f}",
    ]
    return "\n".join(f"- {line}" for line in lines)


def today() -> str:
    """The date."""
    return datetime.date.today().isoformat()


def commit() -> str:
    """What is checked out, with a plus where it has been changed since."""
    here = Path(__file__).parent
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--exclude=*"], cwd=here, capture_output=True, text=True
    )
    return done.stdout.strip() or "unknown"


def processor() -> tuple[str, list[str]]:
    """Its name, and which of the mattering instruction sets it has, as Linux tells them."""
    described: dict[str, str] = {}
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        pairs = (line.partition(":") for line in cpuinfo.read_text().splitlines())
        described = {key.strip(): value.strip() for key, _, value in pairs}
    has = described.get("flags", described.get("Features", "")).split()
    return described.get("model name", platform.processor()), [flag for flag in MATTERING if flag in has]
