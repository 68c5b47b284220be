"""The kernels of dense layers beside PyTorch's float64 products of the same, rounded numbers."""

import os
import subprocess
import sys
from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import needs_bfloat16
from torch import Tensor, nn

from vae_experiments.models.architectures import MLP
from vae_experiments.models.layer_kernels import by_kernels
from vae_experiments.models.layers import Linear, compute_as_pytorch, compute_without_kernels
from vae_experiments.models.sequence import Layers

pytestmark = needs_bfloat16
ROUNDING = 2**-8  # of what is in bfloat16
SUMMED = 2**-18  # of gradients, which are summed and kept in float32
SIZES = [(2, 392), (392, 32), (1, 1), (33, 65), (500, 500), (1000, 3)]  # inputs and outputs


def has_kernels(layer: Linear, x: Tensor) -> bool:
    return layer.compiled and by_kernels(layer, x) is not None


def rounded(x: Tensor) -> Tensor:
    return x.bfloat16().float()


def layer(inputs: int, outputs: int) -> Linear:
    made = Linear(inputs, outputs)
    made.weight.data = rounded(made.weight.data)
    return made


def distance(a: Tensor, b: Tensor) -> float:
    return float(((a.double() - b).norm() / (b.norm() + 1e-6)).detach())


def check(network: nn.Module, x: Tensor) -> None:
    """Output and gradients in bfloat16 by kernels, beside those in float64 without."""
    exactly = deepcopy(network).double()
    compute_as_pytorch(exactly)
    seen, exact = x.clone().requires_grad_(), x.double().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = network(seen)
    z = exactly(exact)
    assert y.dtype == torch.bfloat16
    assert "_Chain" in y.grad_fn.name()
    assert y.shape == z.shape
    weights = rounded(torch.randn(y.shape))
    y.backward(weights.bfloat16())
    z.backward(weights.double() * ((y > 0) if isinstance(network[-1], nn.ReLU) else 1))  # as y's ReLU cuts off
    assert distance(y, z) < ROUNDING
    assert distance(seen.grad, exact.grad) < ROUNDING
    for p, q in zip(network.parameters(), exactly.parameters(), strict=True):
        assert distance(p.grad, q.grad) < SUMMED
        assert p.grad.stride() == p.stride()


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("batch", [1, 16, 33, 700])
@pytest.mark.parametrize(("inputs", "outputs"), SIZES)
def test_a_dense_layer_is_pytorchs(inputs: int, outputs: int, batch: int, relu: bool) -> None:
    torch.manual_seed(0)
    one = layer(inputs, outputs)
    check(Layers(one, nn.ReLU()) if relu else Layers(one), rounded(torch.rand(batch, inputs)))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    sizes=st.tuples(*[st.integers(1, 3) | st.integers(1, 300)] * 3),
    relu=st.booleans(),
    threads=st.integers(1, 3),
)
def test_a_dense_layer_of_any_size_is_pytorchs(sizes: tuple[int, int, int], relu: bool, threads: int) -> None:
    batch, inputs, outputs = sizes
    torch.manual_seed(0)
    one, before = layer(inputs, outputs), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        check(Layers(one, nn.ReLU()) if relu else Layers(one), rounded(torch.rand(batch, inputs)))
    finally:
        torch.set_num_threads(before)


def test_inputs_that_lie_apart_are_the_same_inputs() -> None:
    torch.manual_seed(0)
    one, x = layer(40, 30), torch.rand(40, 12).bfloat16().T
    with torch.autocast("cpu", torch.bfloat16):
        y = one(x)
        assert torch.equal(y, one(x.contiguous()))
    (apart,) = torch.autograd.grad(y, one.weight, torch.ones(30, 12).bfloat16().T, retain_graph=True)
    assert torch.equal(apart, torch.autograd.grad(y, one.weight, torch.ones(12, 30).bfloat16())[0])


def test_what_needs_no_gradient_gets_none() -> None:
    one = layer(20, 10)
    one.bias.requires_grad_(False)
    with torch.autocast("cpu", torch.bfloat16):
        one(torch.rand(4, 20)).float().sum().backward()
    assert one.weight.grad is not None
    assert one.bias.grad is None


def test_layers_before_which_nothing_trains_are_not_differentiated_through() -> None:
    torch.manual_seed(0)
    network, x = Layers(layer(20, 40), nn.ReLU(), layer(40, 30), nn.ReLU(), layer(30, 5)), torch.rand(4, 20)
    gradients = []
    for frozen in (False, True):
        network[0].requires_grad_(not frozen)
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            network(x).float().square().sum().backward()
        gradients.append([p.grad for p in network[1:].parameters()])
        assert (network[0].weight.grad is None) is frozen
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.Tanh()])
def test_without_gradients_the_same_comes_out(activation: nn.Module) -> None:
    network, x = Layers(layer(20, 40), activation, layer(40, 3)), torch.rand(4, 20)
    with torch.autocast("cpu", torch.bfloat16):
        y = network(x)
        with torch.no_grad():
            assert torch.equal(network(x), y)
        with torch.inference_mode():
            assert torch.equal(network(x), y)


def test_a_layer_that_computes_something_else_is_let_to() -> None:
    class Twice(Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    twice, x = Twice(4, 3), torch.rand(2, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(Layers(twice)(x), 2 * Linear.forward(twice, x))


def test_as_many_threads_give_the_same_bits() -> None:
    torch.manual_seed(0)
    network, x = Layers(layer(800, 30), nn.ReLU()), torch.rand(50, 800)
    answers = []
    for _ in range(2):
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            y = network(x)
        y.float().sum().backward()
        answers.append([y, *(p.grad for p in network.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*answers, strict=True))


@pytest.mark.parametrize("outputs", [8, 80])
def test_what_is_not_a_number_does_not_pass_for_one(outputs: int) -> None:
    x = torch.rand(3, 40)
    x[1, 7] = torch.nan
    with torch.autocast("cpu", torch.bfloat16):
        y = Layers(Linear(40, outputs), nn.ReLU())(x)
    assert y[1].isnan().all()
    assert y[[0, 2]].isfinite().all()


def test_a_network_is_computed_as_without() -> None:
    torch.manual_seed(0)
    architecture = MLP(latent_dim=5, hidden=[60, 40])
    decoder, z = architecture.decoder((1, 28, 28), 1), torch.randn(4, 5)
    with torch.autocast("cpu", torch.bfloat16):
        ours = decoder(z)
        compute_without_kernels(decoder)
        theirs = decoder(z)
    assert distance(ours, theirs.double()) < 3 * ROUNDING


def test_layers_do_without_kernels_where_they_cannot_or_may_not() -> None:
    x, one = torch.rand(2, 4), Linear(4, 3)
    assert not has_kernels(one, x)  # in float32 PyTorch's are as fast
    with torch.autocast("cpu", torch.float16):
        assert not has_kernels(one, x)
    with torch.autocast("cpu", torch.bfloat16):
        assert has_kernels(one, x)
        assert not has_kernels(one, x[0])
        assert not has_kernels(one, x[None])
        assert not has_kernels(one, x[:0])
        assert not has_kernels(one, x[:, :3])
        assert not has_kernels(Linear(4, 3, bias=False), x)
        assert not has_kernels(Linear(4, 3).double(), x)
        turned = Linear(4, 3)
        turned.weight.data = turned.weight.data.T.contiguous().T
        assert not has_kernels(turned, x)
        compute_without_kernels(one)
        assert not has_kernels(one, x)


NO_MEMORY = """
import resource, torch
from vae_experiments.models.layers import Linear
narrows, widens, x = Linear(128, 64), Linear(64, 128), torch.rand(8192, 128).bfloat16()
def forwards():
    narrows(x)
def backwards():
    torch.autograd.grad(y, narrows.weight, g, retain_graph=True)
with torch.autocast("cpu", torch.bfloat16):
    y = widens(narrows(x))
    g = torch.ones_like(y)
    backwards()
    used = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize")) * 1024
    for compute in (forwards, backwards):
        for left in range(0, 12, 2):  # MiB; PyTorch is to find some for the results
            resource.setrlimit(resource.RLIMIT_AS, (used + left * 2**20, -1))
            try:
                compute()
            except MemoryError as error:
                print(compute.__name__, error)
            except RuntimeError:
                pass
        resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
        compute()
"""


def test_without_memory_for_it_a_dense_layer_says_so() -> None:
    nothing_kept = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    code = [sys.executable, "-c", NO_MEMORY]
    said = subprocess.run(code, env=nothing_kept, capture_output=True, text=True, check=True)
    for way in ("forwards", "backwards"):
        assert f"{way} a layer found no memory for a batch of this size; a smaller one takes less" in said.stdout
