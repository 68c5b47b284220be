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

import torch
from platformdirs import user_cache_path

log = logging.getLogger(__name__)

SOURCE = Path(__file__).with_name("tiles.c")
FLAGS = (
    *("-O3", "-std=gnu11", "-fPIC", "-shared", "-fopenmp"),
    *("-mfma", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512bf16", "-mamx-tile", "-mamx-bf16"),
)


class Missing(Exception):
    """Why there are no kernels here, in a few words."""


@cache
def has_tiles() -> bool:
    """Whether this CPU multiplies bfloat16 in tiles."""
    return torch.cpu._is_amx_tile_supported()


@cache
def tiles() -> ctypes.CDLL | None:
    """The kernels of tiles.c, None where they cannot be had: see `why_not`."""
    library, why = _outcome()
    if why is not None and has_tiles():
        log.info("convolutions are PyTorch's, for want of faster ones: %s", why)
    return library


def why_not() -> str | None:
    """Why there are none, in a few words; None where they are."""
    return _outcome()[1]


@cache
def _outcome() -> tuple[ctypes.CDLL | None, str | None]:
    try:
        if not has_tiles():
            raise Missing("this CPU has no tile units (AMX)")
        return _load(), None
    except Missing as missing:
        return None, str(missing)


def _load() -> ctypes.CDLL:
    """From the cache folder, where the first run on a machine leaves them.

    Raises:
        Missing: there is no compiler, or it fails.
    """
    runtime = openmp()
    key = hashlib.sha256("\0".join([SOURCE.read_text(), *FLAGS, str(runtime)]).encode()).hexdigest()[:16]
    try:
        path = user_cache_path("vae-experiments", appauthor=False) / "kernels" / f"tiles-{key}.so"
        with suppress(OSError):  # it is not there yet, or was made on a machine with other libraries
            return _opened(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:  # renamed: another process may look for it now
            os.replace(_compile(Path(folder), runtime), path)
        return _opened(path)
    except (OSError, RuntimeError) as error:  # the latter where a user has no home folder
        log.info("the cache folder cannot keep the compiled kernels (%s); every run compiles them", error)
    try:
        with tempfile.TemporaryDirectory() as folder:
            return _opened(_compile(Path(folder), runtime))
    except OSError as error:
        raise Missing(f"compiled, they cannot be loaded: {error}") from error


def _compile(folder: Path, runtime: Path | None) -> Path:
    gcc = shutil.which("gcc")
    if gcc is None:
        raise Missing("there is no gcc to compile them with; install it (apt install gcc)")
    library = folder / "tiles.so"
    # PyTorch's OpenMP comes first: with a second one beside it there would be twice as many threads as cores.
    libraries = ["-Wl,--as-needed", *([str(runtime)] if runtime else [])]
    command = [gcc, *FLAGS, "-o", str(library), str(SOURCE), *libraries]
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
    library.tiles_convolve.argtypes = [*[pointer] * 7, *[number] * 3]
    library.tiles_gradient.argtypes = [*[pointer] * 9, number]
    if library.tiles_request() != 0:
        raise Missing("the system does not grant the CPU's tile units")
    return library
