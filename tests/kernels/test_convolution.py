"""The kernels beside PyTorch's float64 convolutions of the same, rounded numbers."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support import needs_bfloat16, needs_float32, operations
from torch import Tensor, nn

from vae_experiments.kernels import compiled
from vae_experiments.models.architectures import Conv, ResNet
from vae_experiments.models.late_block import LateBlock
from vae_experiments.models.layer_kernels import by_kernels, convolution_of
from vae_experiments.models.layers import Conv2d, ConvTranspose2d, Linear, compute_as_pytorch, compute_without_kernels
from vae_experiments.models.sequence import Layers

FORMATS = [
    pytest.param(torch.bfloat16, marks=needs_bfloat16, id="bfloat16"),
    pytest.param(torch.float32, marks=needs_float32, id="float32"),
]
in_both_formats = pytest.mark.parametrize("precision", FORMATS)
ROUNDING = {torch.bfloat16: 2**-8, torch.float32: 2**-19}  # of a result, and of the sums behind it
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


def rounding(layer: Conv2d | ConvTranspose2d, precision: torch.dtype) -> float:
    """Twice as large in bfloat16 by Winograd's filtering."""
    by_winograd = layer.kernel_size[0] == 3 and layer.stride[0] == 1 and min(layer.weight.shape[:2]) >= 16
    without_tiles = precision is torch.bfloat16 and compiled.units(precision) != "AMX"
    return ROUNDING[precision] * (2 if by_winograd and without_tiles else 1)


def has_kernels(layer: Conv2d | ConvTranspose2d, x: Tensor) -> bool:
    return layer.compiled and by_kernels(layer, x) is not None


def rounded(x: Tensor) -> Tensor:
    return x.bfloat16().float()


def computing(precision: torch.dtype) -> torch.autocast:
    """The kernels' format for what is done meanwhile, to numbers in float32."""
    return torch.autocast("cpu", torch.bfloat16, enabled=precision is torch.bfloat16)


def compared(network: Layers, x: Tensor, precision: torch.dtype) -> Iterator[tuple[Tensor, Tensor]]:
    """By kernels and in float64 without: the output and all gradients of a weighted sum of it.

    A ReLU at the end cuts off the same for both, since rounding may take a value to the other side of zero.
    """
    exactly = deepcopy(network).double()
    compute_as_pytorch(exactly)
    is_rectified = isinstance(network[-1], nn.ReLU)
    seen, exact = x.clone().requires_grad_(), x.double().requires_grad_()
    network.zero_grad()
    with computing(precision):
        y = network(seen)
    z = exactly[:-1](exact) if is_rectified else exactly(exact)
    assert "_ChainBackward" in operations(y)
    assert "_ChainBackward" not in operations(z)
    weights = rounded(torch.randn(y.shape))
    y.backward(weights.to(y.dtype))
    z.backward(weights.double() * (y > 0) if is_rectified else weights.double())
    yield y.detach().double(), z.detach().relu() if is_rectified else z.detach()
    for ours, theirs in zip((seen, *network.parameters()), (exact, *exactly.parameters()), strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        yield ours.grad.double(), theirs.grad


def distance(a: Tensor, b: Tensor) -> float:
    return float(((a - b).norm() / (b.norm() + 1e-6)).detach())


@in_both_formats
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("what", CONVOLUTIONS)
def test_a_convolution_is_pytorchs(
    what: str, size: tuple[int, int], batch: int, relu: bool, precision: torch.dtype
) -> None:
    torch.manual_seed(0)
    layer = CONVOLUTIONS[what]()
    for p in layer.parameters():
        p.data = rounded(p.data)
    network = Layers(layer, nn.ReLU()) if relu else Layers(layer)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = rounded(torch.rand(batch, layer.in_channels, *size))
    with computing(precision):
        assert has_kernels(layer, x)
        assert network(x).dtype == precision
    for ours, exact in compared(network, x, precision):
        assert distance(ours, exact) < rounding(layer, precision)


@needs_float32
def test_a_cpu_without_avx512_computes_the_same(tmp_path: Path) -> None:
    chosen = ["-k", "test_a_convolution and float32", "-n0", "-q", "-o", f"cache_dir={tmp_path}"]
    environment = os.environ | {"ATEN_CPU_CAPABILITY": "avx2"}
    again = [sys.executable, "-m", "pytest", __file__, *chosen]
    ended = subprocess.run(again, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout
    assert "skipped" not in ended.stdout.splitlines()[-1]


WITHOUT_TILES = """
import sys, pytest, torch
torch.cpu._is_amx_tile_supported = lambda: False
sys.exit(pytest.main(sys.argv[1:]))
"""


@pytest.mark.skipif(not compiled.has_tiles(), reason="without tile units all the other tests here are that")
@pytest.mark.parametrize("file", ["test_convolution.py", "test_dense.py", "test_chain.py"])
def test_a_cpu_without_tile_units_computes_the_same(file: str, tmp_path: Path) -> None:
    chosen = ["-k", "not float32 and not tile_units", "-n0", "-q", "-o", f"cache_dir={tmp_path}"]
    again = [sys.executable, "-c", WITHOUT_TILES, str(Path(__file__).with_name(file)), *chosen]
    ended = subprocess.run(again, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout
    assert "skipped" not in ended.stdout.splitlines()[-1]


@in_both_formats
@settings(max_examples=300, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_convolution_of_any_shape_is_pytorchs(precision: torch.dtype, data: st.DataObject) -> None:
    def number(least: int, most: int) -> int:
        """Small ones more often: with few channels and a small kernel, layers are computed another way."""
        return data.draw(st.integers(least, min(most, least + 2)) | st.integers(least, most))

    kernel = number(1, 11)
    stride, padding, transposed = number(1, kernel), number(0, kernel - 1), data.draw(st.booleans())
    channels, filters, batch = number(1, 70), number(1, 70), number(1, 4)
    size = number(1, 20), number(1, 20)
    layer: Conv2d | ConvTranspose2d
    if transposed:
        layer = ConvTranspose2d(channels, filters, kernel, stride, padding, output_padding=number(0, stride - 1))
    else:
        layer = Conv2d(channels, filters, kernel, stride, padding)
    shape = convolution_of(layer)
    assert shape is not None
    assume(min(shape.output(*size)) > 0)
    assume(transposed or min(size) + 2 * padding >= kernel)
    torch.manual_seed(0)
    for p in layer.parameters():
        p.data = rounded(p.data)
    network = Layers(layer, nn.ReLU()) if data.draw(st.booleans()) else Layers(layer)
    for ours, exact in compared(network, rounded(torch.rand(batch, channels, *size)), precision):
        assert ours.shape == exact.shape
        assert distance(ours, exact) < 2 * rounding(layer, precision)


@in_both_formats
@pytest.mark.parametrize("what", CONVOLUTIONS)
def test_no_images_become_no_images(what: str, precision: torch.dtype) -> None:
    layer = CONVOLUTIONS[what]()
    x = torch.rand(0, layer.in_channels, 8, 8, requires_grad=True)
    with computing(precision):
        y = layer(x)
    y.sum().backward()
    assert "_ChainBackward" in operations(y)
    assert y.shape[1:] == layer(torch.rand(1, layer.in_channels, 8, 8)).shape[1:]
    assert x.grad is not None
    assert x.grad.shape == x.shape
    assert all(p.grad is not None and not p.grad.any() for p in layer.parameters())


@in_both_formats
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format], ids=str)
def test_weights_and_images_may_lie_in_any_order(layout: torch.memory_format, precision: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = Conv2d(20, 18, 3, padding=1)
    network = Layers(layer, nn.ReLU()).to(memory_format=layout)  # type: ignore[call-overload]
    x = rounded(torch.rand(3, 20, 6, 5)).to(memory_format=layout)
    for p in network.parameters():
        p.data = rounded(p.data)
    for ours, exact in compared(network, x, precision):
        assert distance(ours, exact) < rounding(layer, precision)
    assert all(p.grad is not None and p.grad.stride() == p.stride() for p in network.parameters())


@in_both_formats
@pytest.mark.parametrize("channels", [4, 16])
def test_what_is_not_a_number_does_not_pass_for_one(channels: int, precision: torch.dtype) -> None:
    x = torch.rand(2, channels, 6, 6)
    x[1, 2, 3, 3] = torch.nan
    with computing(precision):
        y = Layers(Conv2d(channels, 16, 3, padding=1), nn.ReLU())(x)
    assert y[1, :, 2:5, 2:5].isnan().all()
    assert y[0].isfinite().all()


@in_both_formats
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_as_many_threads_give_the_same_bits(threads: int, stride: int, precision: torch.dtype) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        torch.manual_seed(0)
        network, x = Layers(Conv2d(32, 32, 3, stride, padding=1), nn.ReLU()), torch.rand(7, 32, 9, 9)
        answers = []
        for _ in range(2):
            torch.manual_seed(1)
            answers.append([ours.clone() for ours, _ in compared(network, x, precision)])
        assert all(torch.equal(a, b) for a, b in zip(*answers, strict=True))
    finally:
        torch.set_num_threads(before)


@in_both_formats
@pytest.mark.parametrize("architecture", [Conv(), ResNet(activation="relu", channels=[8, 16]), Conv(deepen_at=1)])
def test_a_network_is_computed_as_without(architecture: Conv | ResNet, precision: torch.dtype) -> None:
    torch.manual_seed(0)
    encoder = architecture.encoder((1, 28, 28))
    architecture.initialize(encoder)
    x = torch.rand(4, 1, 28, 28)
    with computing(precision):
        ours = encoder(x)
        compute_without_kernels(encoder)
        theirs = encoder(x)
    assert "_ChainBackward" in operations(ours)
    assert distance(ours.float(), theirs.float()) < 6 * ROUNDING[precision]


@in_both_formats
def test_layers_do_without_kernels_where_they_cannot_or_may_not(precision: torch.dtype) -> None:
    x = torch.rand(1, 4, 8, 8)
    layer = Conv2d(4, 4, 3, padding=1)
    assert not has_kernels(layer, x.double())
    assert not has_kernels(layer, x.bfloat16())  # as the weights are not
    with computing(torch.float16):
        assert not has_kernels(layer, x.half())
    with computing(precision):
        assert has_kernels(layer, x)
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
            assert not has_kernels(other, x)
        assert not has_kernels(layer, x[0])
        assert not has_kernels(Conv2d(3, 4, 3, padding=1), x)
        assert not has_kernels(Conv2d(4, 4, 9), x)  # nothing would be left, which is PyTorch's to refuse
        assert not has_kernels(ConvTranspose2d(4, 4, 3, 2, output_padding=2), x)
        assert not has_kernels(Conv2d(4, 4, 3).half(), x)
        assert not has_kernels(Conv2d(4, 4, 3, device="meta"), x)
        compute_without_kernels(layer)
        assert not has_kernels(layer, x)


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float32])
def test_kernels_that_nobody_would_take_are_not_asked_for(
    precision: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "kernels", lambda precision: pytest.fail("compiled for nothing"))
    network = Conv().encoder((1, 28, 28))
    compute_without_kernels(network)
    dense = Layers(Linear(4, 3), nn.ReLU())  # has none in float32
    with computing(precision):
        network(torch.rand(2, 1, 28, 28))
    dense(torch.rand(2, 4))


@in_both_formats
def test_whoever_looks_at_a_layer_sees_its_output(precision: torch.dtype) -> None:
    network = Layers(Conv2d(2, 3, 3, padding=1), nn.ReLU(), Conv2d(3, 3, 3, padding=1), nn.ReLU())
    seen: list[Tensor] = []
    for layer in network:
        layer.register_forward_hook(lambda layer, inputs, y: seen.append(y))
    with computing(precision):
        network(torch.rand(1, 2, 6, 6))
    assert len(seen) == 4
    assert (seen[0] < 0).any()
    assert torch.equal(seen[0].relu(), seen[1])


@in_both_formats
def test_whoever_changes_what_a_layer_is_given_is_heeded(precision: torch.dtype) -> None:
    network, x = Layers(Conv2d(2, 3, 3, padding=1), nn.ReLU()), torch.rand(1, 2, 6, 6)
    with computing(precision):
        before = network(x)
        network[0].register_forward_pre_hook(lambda layer, inputs: (torch.zeros_like(inputs[0]),))
        after = network(x)
    assert not torch.equal(before, after)
    assert after[0, :, 0, 0].equal(after[0, :, 3, 3])


NO_MEMORY = """
import resource, torch
from vae_experiments.models.layers import Conv2d
layer, x = Conv2d(512, 512, 3, stride=%d, padding=1), torch.rand(1, 512, 4, 4)
with torch.autocast("cpu", torch.bfloat16, enabled=%s):
    y = layer(x)
    used = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize")) * 1024
    for left, compute in ((1, lambda: layer(x)), (12, lambda: y.sum().backward())):  # the gradient itself takes 9 MiB
        resource.setrlimit(resource.RLIMIT_AS, (used + left * 2**20, -1))
        try:
            compute()
        except MemoryError as error:
            print(error)
"""


@in_both_formats
@pytest.mark.parametrize("stride", [1, 2])
def test_without_memory_for_it_a_convolution_says_so(stride: int, precision: torch.dtype) -> None:
    code = NO_MEMORY % (stride, precision is torch.bfloat16)
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.count("a layer found no memory for a batch of this size; a smaller one takes less") == 2


LEAK = """
import resource, torch
from torch import nn
from vae_experiments.models.layers import Conv2d
from threading import Thread
layer, x = Conv2d(32, 32, 3, padding=1), torch.rand(8, 32, 64, 64)
def work():
    with torch.autocast("cpu", torch.bfloat16, enabled=%s):
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


@in_both_formats
def test_a_thread_that_ends_leaves_no_memory_behind(precision: torch.dtype) -> None:
    said = subprocess.run(
        [sys.executable, "-c", LEAK % (precision is torch.bfloat16)], capture_output=True, text=True, check=True
    )
    assert int(said.stdout) < 40_000  # KiB; a thread's own are 2,000 and more


@needs_bfloat16
def test_a_late_block_that_has_joined_has_kernels() -> None:
    block = LateBlock(Conv2d(8, 8, 3, padding=1), start=0)
    with torch.autocast("cpu", torch.bfloat16):
        assert "_ChainBackward" in operations(block(torch.rand(2, 8, 6, 6)))
