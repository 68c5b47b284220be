"""Keys that make a step fast: each is heeded, and leaves what is computed as it is, up to rounding."""

import subprocess
import sys
from pathlib import Path

import assembled
import numpy as np
import pytest
import torch
from assembled import numbers, start
from support import needs_bfloat16, needs_float32, needs_gpu
from torch import Tensor, nn

from vae_experiments.data.batches import Images
from vae_experiments.models.architectures import MLP, Conv
from vae_experiments.models.layers import (
    Compiled,
    Conv2d,
    ConvTranspose2d,
    Linear,
    compute_as_pytorch,
    has_compiled_layers,
)
from vae_experiments.runs import assemble
from vae_experiments.training.adam import Adam
from vae_experiments.training.loop import fit


@pytest.mark.parametrize("key", ["channels_last", "rewritten_layers", pytest.param("cuda_graphs", marks=needs_gpu)])
def test_without_it_a_run_comes_to_the_same_numbers(key: str) -> None:
    keys = ["trainer.precision=float32", "trainer.max_epochs=1", "dataset.split.train=0.08", "dataset.split.test=0.9"]
    keys += ["trainer.kernels=false"] if key == "rewritten_layers" else []  # they would compute the layers of both
    plain, fast = (start(assembled.composed(*keys, f"trainer.{key}={on}")) for on in (False, True))
    fit(plain)
    fit(fast)
    (without,), (by_default,) = numbers(plain), numbers(fast)
    assert without == pytest.approx(by_default, rel=1e-3)


def test_the_plain_trainer_does_without_any() -> None:
    fast, plain = (assembled.composed(f"trainer={choice}")["trainer"] for choice in ("auto", "plain"))
    assert plain["precision"] == "float32"
    assert {key: value for key, value in plain.items() if isinstance(value, bool)} == {
        key: False for key, value in fast.items() if value is True
    }


def network(*keys: str) -> nn.Module:
    return start(assembled.composed(*keys)).state.vae


def kernels(vae: nn.Module) -> list[Tensor]:
    """Of the layers whose layouts differ."""
    return [p for p in vae.parameters() if p.dim() == 4 and p.shape[1] > 1 and p.shape[2] > 1]


def test_channels_last_is_how_weights_lie_in_memory() -> None:
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in kernels(network()))
    assert all(p.is_contiguous() for p in kernels(network("trainer.channels_last=false")))


@pytest.mark.parametrize("on", [True, False])
def test_channels_last_is_how_batches_lie_in_memory(on: bool) -> None:
    pixels = np.zeros((4, 3, 5, 6), np.uint8)
    x = Images(pixels, torch.device("cpu"), channels_last=on)(np.arange(2))
    assert x.is_contiguous(memory_format=torch.channels_last if on else torch.contiguous_format)
    assert start(assembled.composed(f"trainer.channels_last={on}")).images.channels_last is on


@pytest.mark.parametrize("on", [True, False])
def test_freed_memory_is_kept_where_that_is_asked_for(on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(assemble, "keep_freed_memory", lambda: asked.append(True))
    network(f"trainer.keep_memory={on}")
    assert asked == [True] * on


def test_rewritten_layers_can_be_told_to_be_pytorchs_own() -> None:
    x = torch.randn(2, 6, 4, 4)
    for layer, own in ((Conv2d(6, 1, 3, padding=1), nn.Conv2d), (ConvTranspose2d(6, 3, 3), nn.ConvTranspose2d)):
        compute_as_pytorch(layer)
        assert torch.equal(layer(x), own.forward(layer, x))
        assert layer(x).grad_fn.name() == own.forward(layer, x).grad_fn.name()
        assert "ThinConvolution" not in str(layer(x).grad_fn.next_functions)
    layers = [m for m in network("trainer.rewritten_layers=false").modules() if isinstance(m, Conv2d | ConvTranspose2d)]
    assert layers
    assert not any(layer.rewritten for layer in layers)


def test_kernels_of_our_own_can_be_left_alone() -> None:
    layers = [m for m in network("trainer.kernels=false").modules() if isinstance(m, Compiled)]
    assert {type(layer) for layer in layers} == {Conv2d, ConvTranspose2d, Linear}
    assert not any(layer.compiled for layer in layers)
    assert all(layer.compiled for layer in network().modules() if isinstance(layer, Compiled))
    for on in (False, True):
        optimizer = start(assembled.composed(f"trainer.kernels={on}")).state.optimizer
        assert isinstance(optimizer, Adam)
        assert optimizer.compiled is on


@pytest.mark.parametrize(
    "precision", [pytest.param("bfloat16", marks=needs_bfloat16), pytest.param("float32", marks=needs_float32)]
)
@pytest.mark.parametrize("key", ["kernels=true", "kernels=false", "rewritten_layers=false"])
def test_a_run_remembers_whether_it_takes_them(key: str, precision: str) -> None:
    run = start(assembled.composed(f"trainer.precision={precision}", f"trainer.{key}"))
    assert ("own kernels" in run.identity["arithmetic"]) is (key == "kernels=true")
    assert ("own updates" in run.identity["arithmetic"]) is (key != "kernels=false")


@needs_float32
@pytest.mark.parametrize("keys", ["optimizer=sgd", "optimizer.fused=false"])
def test_a_run_with_another_optimizer_has_no_updates_of_our_own(keys: str) -> None:
    assert "own updates" not in start(assembled.composed(keys)).identity["arithmetic"]
    clipped = start(assembled.composed(keys, "trainer.clip_grad_norm=1"))  # by a norm of our own
    assert "own updates" in clipped.identity["arithmetic"]


@needs_float32
def test_a_run_remembers_what_its_teacher_takes() -> None:
    keys = ["optimizer=sgd", "trainer.precision=float32"]
    taught = start(assembled.composed(*keys, "teacher=small"))
    assert "own updates" in taught.identity["arithmetic"]


def test_a_network_without_convolutions_has_use_for_them_only_in_bfloat16() -> None:
    for precision in (torch.bfloat16, torch.float32):
        assert has_compiled_layers(Conv().encoder((1, 28, 28)), precision)
        assert has_compiled_layers(MLP().encoder((1, 28, 28)), precision) is (precision is torch.bfloat16)


HEEDED = """
import sys
sys.path.insert(0, {tests!r})
import torch
from assembled import composed, start
start(composed("trainer.flush_denormals={on}"))
print((torch.full((4,), 1.2e-38) * 0.9 == 0).all().item())
"""


@pytest.mark.parametrize("on", [True, False])
def test_denormals_are_kept_where_that_is_asked_for(on: bool) -> None:
    code = HEEDED.format(tests=str(Path(assembled.__file__).parent), on=on)
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split()[-1] == str(on)
