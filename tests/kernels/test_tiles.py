"""The kernels for tile units beside PyTorch's float32 convolutions of the same, rounded numbers."""

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support import needs_tiles
from torch import Tensor, nn

from vae_experiments.models.architectures import Conv, ResNet
from vae_experiments.models.layers import (
    Conv2d,
    ConvTranspose2d,
    LateBlock,
    Layers,
    compute_without_tiles,
    geometry,
    goes_on_tiles,
)

pytestmark = needs_tiles

ROUNDING = 2**-8  # of a result, to bfloat16
SIZES = [(28, 28), (7, 5), (1, 1), (2, 17)]
CONVOLUTIONS: dict[str, Callable[[], Conv2d | ConvTranspose2d]] = {
    "one channel": lambda: Conv2d(1, 32, 3, padding=1),
    "colors, strided": lambda: Conv2d(3, 24, 3, 2, padding=1),
    "the seed's": lambda: Conv2d(64, 64, 3, padding=1),
    "to one channel": lambda: Conv2d(33, 1, 5, padding=2),
    "to colors": lambda: Conv2d(16, 3, 3, padding=1),
    "a stride of three": lambda: Conv2d(40, 48, 5, 3, padding=2),
    "one pixel": lambda: Conv2d(20, 7, 1),
    "the largest": lambda: Conv2d(2, 5, 11, padding=5),
    "much padding": lambda: Conv2d(20, 20, 3, padding=2),
    "transposed": lambda: ConvTranspose2d(33, 17, 3, 2, 1, output_padding=1),
    "transposed, a stride of three": lambda: ConvTranspose2d(64, 32, 5, 3, 2, output_padding=(2, 0)),
    "transposed, a stride of one": lambda: ConvTranspose2d(12, 3, 3, 1, 1),
}


def rounded(x: Tensor) -> Tensor:
    return x.bfloat16().float()


def compared(network: nn.Module, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """On tiles and in float32 without: the output and all gradients of a weighted sum of it."""
    both = []
    weights: Tensor | None = None
    for enabled in (True, False):
        given = x.clone().requires_grad_()
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            y = network(given)
        weights = rounded(torch.randn(y.shape)) if weights is None else weights
        y.backward(weights.to(y.dtype))
        gradients = [p.grad.clone() for p in network.parameters() if p.grad is not None]
        assert given.grad is not None
        both.append([y.detach().float(), given.grad, *gradients])
    yield from zip(*both, strict=True)


def distance(a: Tensor, b: Tensor) -> float:
    return float(((a - b).norm() / (b.norm() + 1e-6)).detach())


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("what", CONVOLUTIONS)
def test_a_convolution_is_pytorchs(what: str, size: tuple[int, int], batch: int, relu: bool) -> None:
    torch.manual_seed(0)
    layer = CONVOLUTIONS[what]()
    for p in layer.parameters():
        p.data = rounded(p.data)
    network = Layers(layer, nn.ReLU()) if relu else Layers(layer)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = rounded(torch.rand(batch, layer.in_channels, *size))
    with torch.autocast("cpu", torch.bfloat16):
        assert goes_on_tiles(layer, x)
        assert network(x).dtype == torch.bfloat16
    for ours, exact in compared(network, x):
        assert distance(ours, exact) < ROUNDING


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.data())
def test_a_convolution_of_any_shape_is_pytorchs(data: st.DataObject) -> None:
    def number(least: int, most: int) -> int:
        """Small ones more often: with few channels and a small kernel, layers are computed another way."""
        return data.draw(st.integers(least, min(most, least + 2)) | st.integers(least, most))

    kernel = number(1, 11)
    stride, padding, transposed = number(1, kernel), number(0, kernel - 1), data.draw(st.booleans())
    channels, filters, batch = number(1, 70), number(1, 70), number(0, 4)
    size = number(1, 20), number(1, 20)
    layer: Conv2d | ConvTranspose2d
    if transposed:
        layer = ConvTranspose2d(channels, filters, kernel, stride, padding, output_padding=number(0, stride - 1))
    else:
        layer = Conv2d(channels, filters, kernel, stride, padding)
    shape = geometry(layer)
    assert shape is not None
    assume(min(shape.output(*size)) > 0)
    assume(transposed or min(size) + 2 * padding >= kernel)
    torch.manual_seed(0)
    for p in layer.parameters():
        p.data = rounded(p.data)
    network = Layers(layer, nn.ReLU()) if data.draw(st.booleans()) else Layers(layer)
    for ours, exact in compared(network, rounded(torch.rand(batch, channels, *size))):
        assert ours.shape == exact.shape
        assert distance(ours, exact) < 2 * ROUNDING


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format], ids=str)
def test_weights_and_images_may_lie_in_any_order(layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    network = Layers(Conv2d(4, 6, 3, padding=1), nn.ReLU()).to(memory_format=layout)  # type: ignore[call-overload]
    x = rounded(torch.rand(3, 4, 6, 5)).to(memory_format=layout)
    for p in network.parameters():
        p.data = rounded(p.data)
    for ours, exact in compared(network, x):
        assert distance(ours, exact) < ROUNDING
    assert all(p.grad is not None and p.grad.stride() == p.stride() for p in network.parameters())


def test_what_is_not_a_number_does_not_pass_for_one() -> None:
    x = torch.rand(2, 4, 6, 6)
    x[1, 2, 3, 3] = torch.nan
    with torch.autocast("cpu", torch.bfloat16):
        y = Layers(Conv2d(4, 8, 3, padding=1), nn.ReLU())(x)
    assert y[1, :, 2:5, 2:5].isnan().all()
    assert y[0].isfinite().all()


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_as_many_threads_give_the_same_bits(threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        torch.manual_seed(0)
        network, x = Layers(Conv2d(32, 32, 3, padding=1), nn.ReLU()), torch.rand(7, 32, 9, 9)
        answers = []
        for _ in range(2):
            torch.manual_seed(1)
            answers.append([ours for ours, _ in compared(network, x)])
        assert all(torch.equal(a, b) for a, b in zip(*answers, strict=True))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("architecture", [Conv(), ResNet(activation="relu", channels=[8, 16]), Conv(deepen_at=1)])
def test_a_network_is_computed_as_without(architecture: Conv | ResNet) -> None:
    torch.manual_seed(0)
    encoder = architecture.encoder((1, 28, 28))
    architecture.initialize(encoder)
    x = torch.rand(4, 1, 28, 28)
    with torch.autocast("cpu", torch.bfloat16):
        ours = encoder(x)
        compute_without_tiles(encoder)
        theirs = encoder(x)
    assert "Convolution" in graph(ours)
    assert distance(ours.float(), theirs.float()) < 2e-2


def graph(y: Tensor) -> str:
    """The names of what y was computed by."""
    names, waiting = set(), [y.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in names:
            names.add(node)
            waiting += [before for before, _ in node.next_functions]
    return " ".join(node.name() for node in names)


def test_layers_do_without_tiles_where_they_cannot_or_may_not() -> None:
    x = torch.rand(1, 4, 8, 8)
    layer = Conv2d(4, 4, 3, padding=1)
    assert not goes_on_tiles(layer, x)  # in float32
    with torch.autocast("cpu", torch.bfloat16):
        assert goes_on_tiles(layer, x)
        others = [
            Conv2d(4, 4, 3, padding=1, groups=2),
            Conv2d(4, 4, 3, padding=2, dilation=2),
            Conv2d(4, 4, (3, 5)),
            Conv2d(4, 4, 13),
            Conv2d(4, 4, 3, padding="same"),
            Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
            Conv2d(4, 4, 1, stride=2),
            Conv2d(4, 4, 3, bias=False),
        ]
        for other in others:
            assert not goes_on_tiles(other, x)
        assert not goes_on_tiles(layer, x[0])
        assert not goes_on_tiles(Conv2d(3, 4, 3, padding=1), x)
        assert not goes_on_tiles(Conv2d(4, 4, 9), x)  # nothing would be left, which is PyTorch's to refuse
        assert not goes_on_tiles(ConvTranspose2d(4, 4, 3, 2, output_padding=2), x)
        assert not goes_on_tiles(Conv2d(4, 4, 3).half(), x)
        assert not goes_on_tiles(Conv2d(4, 4, 3, device="meta"), x)
        compute_without_tiles(layer)
        assert not goes_on_tiles(layer, x)


def test_whoever_looks_at_a_layer_sees_its_output() -> None:
    network = Layers(Conv2d(2, 3, 3, padding=1), nn.ReLU(), Conv2d(3, 3, 3, padding=1), nn.ReLU())
    seen: list[Tensor] = []
    for layer in network:
        layer.register_forward_hook(lambda layer, inputs, y: seen.append(y))
    with torch.autocast("cpu", torch.bfloat16):
        network(torch.rand(1, 2, 6, 6))
    assert len(seen) == 4
    assert (seen[0] < 0).any()
    assert torch.equal(seen[0].relu(), seen[1])


def test_whoever_changes_what_a_layer_is_given_is_heeded() -> None:
    network, x = Layers(Conv2d(2, 3, 3, padding=1), nn.ReLU()), torch.rand(1, 2, 6, 6)
    with torch.autocast("cpu", torch.bfloat16):
        before = network(x)
        network[0].register_forward_pre_hook(lambda layer, inputs: (torch.zeros_like(inputs[0]),))
        after = network(x)
    assert not torch.equal(before, after)
    assert after[0, :, 0, 0].equal(after[0, :, 3, 3])


LEAK = """
import resource, torch
from torch import nn
from vae_experiments.models.layers import Conv2d
from threading import Thread
layer, x = Conv2d(32, 32, 3, padding=1), torch.rand(8, 32, 64, 64)
def work():
    with torch.autocast("cpu", torch.bfloat16):
        layer(x).float().sum().backward()
def threads(n):
    for _ in range(n):
        thread = Thread(target=work)
        thread.start()
        thread.join()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
torch.set_num_threads(1)
print(-threads(40) + threads(160))
"""


def test_a_thread_that_ends_leaves_no_memory_behind() -> None:
    said = subprocess.run([sys.executable, "-c", LEAK], capture_output=True, text=True, check=True)
    assert int(said.stdout) < 40_000  # KiB; a thread's own are 2,000 and more


def test_a_late_block_that_has_joined_goes_on_tiles() -> None:
    block = LateBlock(Conv2d(8, 8, 3, padding=1), start=0)
    with torch.autocast("cpu", torch.bfloat16):
        assert "Convolution" in graph(block(torch.rand(2, 8, 6, 6)))
