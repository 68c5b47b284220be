"""Where the kernels come from, and what happens where they cannot be had."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from support import needs_bfloat16, needs_float32

from vae_experiments.kernels import compiled
from vae_experiments.kernels.convolution import MOST_KERNEL

pytestmark = needs_float32

ASK = """
import torch
from vae_experiments.kernels.compiled import kernels, why_not
print(kernels(torch.float32) is not None, '|', why_not(torch.float32))
"""
UNITS = """
from vae_experiments.kernels.compiled import units, why_not
print(units(torch.bfloat16), '|', why_not(torch.bfloat16))
"""
SEEN = """
import torch
from vae_experiments.kernels.compiled import kernels
kernels(torch.float32)
print(len({line.split()[-1] for line in open("/proc/self/maps") if "libgomp" in line or "libomp" in line}))
"""


def said(code: str, **environment: str) -> str:
    changed: Mapping[str, str] = os.environ | environment
    result = subprocess.run([sys.executable, "-c", code], env=changed, capture_output=True, text=True, check=True)
    return result.stdout.strip()


def test_they_are_compiled_once_for_a_machine(tmp_path: Path) -> None:
    assert said(ASK, XDG_CACHE_HOME=str(tmp_path)) == "True | None"
    (made,) = tmp_path.rglob("*.so")
    before = made.stat().st_mtime_ns
    assert said(ASK, XDG_CACHE_HOME=str(tmp_path), PATH="/nowhere") == "True | None"  # no gcc is asked for
    assert made.stat().st_mtime_ns == before
    assert [path.name for path in made.parent.iterdir()] == [made.name]


def test_without_a_compiler_layers_are_pytorchs(tmp_path: Path) -> None:
    answer = said(ASK, XDG_CACHE_HOME=str(tmp_path), PATH="/nowhere")
    assert answer == "False | there is no gcc to compile them with; install it (apt install gcc)"


def test_a_compiler_that_fails_is_quoted(tmp_path: Path) -> None:
    gcc = tmp_path / "gcc"
    gcc.write_text("#!/bin/sh\necho 'float32.c:1: error: unknown flag' >&2\nexit 1\n")
    gcc.chmod(0o755)
    answer = said(ASK, XDG_CACHE_HOME=str(tmp_path / "cache"), PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert answer == f"False | {gcc} cannot compile them: float32.c:1: error: unknown flag"


@needs_bfloat16
def test_units_that_a_compiler_does_not_know_are_done_without(tmp_path: Path) -> None:
    gcc = tmp_path / "gcc"
    gcc.write_text(f'#!/bin/sh\ncase "$*" in *amx*) exit 1;; esac\nexec {shutil.which("gcc")} "$@"\n')
    gcc.chmod(0o755)
    ask = f"import torch\ntorch.cpu._is_amx_tile_supported = lambda: True\n{UNITS}"
    assert said(ask, XDG_CACHE_HOME=str(tmp_path), PATH=f"{tmp_path}:{os.environ['PATH']}") == "AVX-512 BF16 | None"


def test_a_cache_that_holds_something_else_is_made_anew(tmp_path: Path) -> None:
    said(ASK, XDG_CACHE_HOME=str(tmp_path))
    (made,) = tmp_path.rglob("*.so")
    made.write_bytes(b"not a library")
    assert said(ASK, XDG_CACHE_HOME=str(tmp_path)) == "True | None"


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    taken = tmp_path / "a file"
    taken.write_text("")
    assert said(ASK, XDG_CACHE_HOME=str(taken)) == "True | None"


def test_without_a_home_folder_they_are_compiled_all_the_same() -> None:
    code = f"""
import pathlib, platformdirs
from vae_experiments.kernels import compiled
def nobodys(*names, **options):
    raise RuntimeError("Could not determine home directory.")
compiled.user_cache_path = nobodys
{ASK}
"""
    assert said(code) == "True | None"


def test_there_is_one_openmp_in_the_process() -> None:
    assert said(SEEN) == "1"


def test_what_both_languages_must_know_is_the_same_in_both() -> None:
    layout = (compiled.FOLDER / "layout.h").read_text()
    assert f"MOST_KERNEL = {MOST_KERNEL}," in layout
