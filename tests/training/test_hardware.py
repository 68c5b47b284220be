"""What is chosen on this machine is what this machine has."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vae_experiments.errors import InputError
from vae_experiments.training.config import TrainerConfig
from vae_experiments.training.hardware import bfloat16_units, choose

DEVICES = ["auto", "cpu"]
DEVICES += ["cuda"] if torch.cuda.is_available() else []
DEVICES += ["mps"] if torch.backends.mps.is_available() else []
ABSENT = {"cuda", "mps"} - set(DEVICES)


@pytest.mark.parametrize("device", DEVICES)
def test_auto_takes_bfloat16_where_there_are_units_for_it_and_only_there(device: str) -> None:
    hardware = choose(TrainerConfig(device=device))
    units = bfloat16_units(hardware.device)
    assert (hardware.precision is torch.bfloat16) == (units is not None)
    assert (units or "no bfloat16 units") in str(hardware)
    assert str(hardware.device).partition(":")[0] in str(hardware)


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or platform.machine() != "x86_64", reason="asks Linux on x86 for its flags"
)
def test_the_units_of_a_cpu_are_those_that_the_system_lists() -> None:
    flags = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")).split()
    expected = "AMX" if "amx_bf16" in flags else "AVX-512 BF16" if "avx512_bf16" in flags else None
    assert bfloat16_units(torch.device("cpu")) == expected


def test_auto_takes_the_fastest_kind_of_device_there_is() -> None:
    kind = choose(TrainerConfig()).device.type
    assert kind == ("cuda" if "cuda" in DEVICES else "mps" if "mps" in DEVICES else "cpu")


@pytest.mark.parametrize("device", sorted(ABSENT))
def test_a_device_that_is_not_here_is_refused_by_name(device: str) -> None:
    with pytest.raises(InputError, match=f"trainer.device={device}: .* use auto or cpu"):
        choose(TrainerConfig(device=device))


def test_bfloat16_without_units_is_done_as_asked_and_said(caplog: pytest.LogCaptureFixture) -> None:
    hardware = choose(TrainerConfig(device="cpu", precision="bfloat16"))
    assert hardware.precision is torch.bfloat16
    slow = bfloat16_units(torch.device("cpu")) is None
    assert ("float32 is faster here" in caplog.text) == slow


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_the_forward_pass_is_computed_in_the_precision(precision: str, dtype: torch.dtype) -> None:
    with choose(TrainerConfig(device="cpu", precision=precision)).autocast():
        assert torch.nn.Linear(2, 2)(torch.zeros(1, 2)).dtype is dtype


TINY = """
import torch
from vae_experiments.training.hardware import flush_denormals
flush_denormals()
torch.set_num_threads(2)
moments = torch.full((2, 1 << 20), 1.2e-38)  # each thread takes one half
assert (moments * 0.9 == 0).all(), "a number below the smallest normal one is left"
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="what PyTorch can do elsewhere varies")
def test_moments_that_die_away_become_zero_in_every_thread() -> None:
    ended = subprocess.run([sys.executable, "-c", TINY], capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
