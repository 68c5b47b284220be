"""Compiles the C kernels on the machine that runs them, once, and loads them."""

import ctypes
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from platformdirs import user_cache_path

log = logging.getLogger(__name__)

FOLDER = Path(__file__).parent
FLAGS = ("-O3", "-std=gnu11", "-fPIC", "-shared", "-fopenmp", "-mfma")
UNITS = {  # a CPU's, and by which flags gcc may use them
    "AVX2": ("-mavx2",),
    "AVX-512": (AVX512 := ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl")),
    "AVX-512 BF16": (BF16 := (*AVX512, "-mavx512bf16")),
    "AMX": (*BF16, "-mamx-tile", "-mamx-bf16"),
}
LAYERS = {torch.bfloat16: "bfloat16", torch.float32: "float32"}  # which library computes them


class Missing(Exception):
    """Why there are no kernels here, in a few words."""


@cache
def has_tiles() -> bool:
    """Whether this CPU multiplies bfloat16 in tiles."""
    return torch.cpu._is_amx_tile_supported()


def bfloat16_units() -> list[str]:
    """The CPU's units that multiply bfloat16, the fastest first."""
    has = {"AMX": has_tiles(), "AVX-512 BF16": torch.cpu._is_avx512_bf16_supported()}
    return [units for units, is_there in has.items() if is_there]


@cache
def kernels(precision: torch.dtype) -> ctypes.CDLL | None:
    """Those for layers in that number format, None where they cannot be had: see `why_not`."""
    return _found(LAYERS[precision], "layers") if precision in LAYERS else None


@cache
def updates() -> ctypes.CDLL | None:
    """Those for what is done with all weights after a backward pass, None where they cannot be had: see `why_not`."""
    return _found("updates", "updates of weights")


def why_not(what: torch.dtype | None) -> str | None:
    """Why there are none, in a few words; None where they are. For layers in a number format, or, None, for updates."""
    return _outcome(_name(what)).why_not


def units(what: torch.dtype | None) -> str | None:
    """The CPU's units that they use, None where there are none; numbers are rounded in other places by others."""
    return _outcome(_name(what)).units


def _name(what: torch.dtype | None) -> str:
    return "updates" if what is None else LAYERS[what]


def _found(name: str, what: str) -> ctypes.CDLL | None:
    outcome = _outcome(name)
    if outcome.library is None and _units(name):
        log.info("%s are PyTorch's, for want of faster ones: %s", what, outcome.why_not)
    return outcome.library


class _Outcome(NamedTuple):
    library: ctypes.CDLL | None = None
    units: str | None = None
    why_not: str | None = None


@cache
def _outcome(name: str) -> _Outcome:
    why_not = []
    for units in _units(name):
        try:
            return _Outcome(_load(name, (*FLAGS, *UNITS[units])), units)
        except Missing as missing:
            why_not.append(str(missing))
    lacking = "bfloat16 units (AMX, AVX-512 BF16)" if name == "bfloat16" else "vector units (AVX-512, AVX2)"
    return _Outcome(why_not=why_not[0] if why_not else f"this CPU has no {lacking}")


def _units(name: str) -> list[str]:
    """The CPU's units that a library is made for, the fastest first; a system may not grant all."""
    if name == "bfloat16":
        return bfloat16_units()
    best = {"AVX512": "AVX-512", "AVX2": "AVX2"}.get(torch.backends.cpu.get_cpu_capability())
    return [best] if best else []


def _load(name: str, flags: tuple[str, ...]) -> ctypes.CDLL:
    """From the cache folder, where the first run on a machine leaves them.

    Raises:
        Missing: there is no compiler, or it fails.
    """
    runtime = openmp()
    sources = [path.read_text() for path in sorted([*FOLDER.glob("*.h"), FOLDER / f"{name}.c"])]
    key = hashlib.sha256("\0".join([*sources, *flags, str(runtime)]).encode()).hexdigest()[:16]
    try:
        path = user_cache_path("vae-experiments", appauthor=False) / "kernels" / f"{name}-{key}.so"
        with suppress(OSError):  # it is not there yet, or was made on a machine with other libraries
            return _opened(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:  # renamed: another process may look for it now
            os.replace(_compile(name, flags, Path(folder), runtime), path)
        return _opened(path)
    except (OSError, RuntimeError) as error:  # the latter where a user has no home folder
        log.info("the cache folder cannot keep the compiled kernels (%s); every run compiles them", error)
    try:
        with tempfile.TemporaryDirectory() as folder:
            return _opened(_compile(name, flags, Path(folder), runtime))
    except OSError as error:
        raise Missing(f"compiled, they cannot be loaded: {error}") from error


def _compile(name: str, flags: tuple[str, ...], folder: Path, runtime: Path | None) -> Path:
    gcc = shutil.which("gcc")
    if gcc is None:
        raise Missing("there is no gcc to compile them with; install it (apt install gcc)")
    library = folder / f"{name}.so"
    # PyTorch's OpenMP comes first: with a second one beside it there would be twice as many threads as cores.
    libraries = ["-Wl,--as-needed", *([str(runtime)] if runtime else []), "-lm"]
    command = [gcc, *flags, "-o", str(library), str(FOLDER / f"{name}.c"), *libraries]
    english = os.environ | {"LC_ALL": "C"}
    result = subprocess.run(command, env=english, capture_output=True, text=True, errors="replace")
    if result.returncode != 0:
        lines = [line for line in result.stderr.splitlines() if "error" in line.lower()] or ["no reason given"]
        raise Missing(f"{gcc} cannot compile them: {lines[0]}")
    with library.open("rb") as written:
        os.fsync(written.fileno())  # half a library would end every process that loads it
    return library


def openmp() -> Path | None:
    """The OpenMP library that PyTorch brings along, None where it takes the system's.

    Raises:
        Missing: it is not gcc's.
    """
    if any(other in Path("/proc/self/maps").read_text() for other in ("libiomp", "libomp")):
        raise Missing("PyTorch has another OpenMP here than gcc's")
    return next(Path(torch.__file__).parent.glob("lib/libgomp*.so*"), None) or next(
        (Path(torch.__file__).parent.parent / "torch.libs").glob("libgomp*.so*"), None
    )


def _opened(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    pointer, number = ctypes.c_void_p, ctypes.c_int
    arguments = {
        "convolve": [*[pointer] * 7, *[number] * 3],
        "gradient": [*[pointer] * 9, number],
        "is_better_turned": [pointer],
        "dense": [pointer, number],
        "norm": [pointer, number, pointer, number],
        "adam": [pointer, number, pointer, number],
    }
    for name, types in arguments.items():
        if hasattr(library, name):
            getattr(library, name).argtypes = types
    if library.request() != 0:
        raise Missing("the CPU's units are not all there, or the system does not grant them")
    return library
