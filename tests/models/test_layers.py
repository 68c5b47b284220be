"""Each layer beside PyTorch's own, on values and gradients."""

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from support import needs_gpu, operations
from torch import Tensor, nn

from vae_experiments.models import layers
from vae_experiments.models.late_block import LateBlock
from vae_experiments.models.layers import (
    Conv2d,
    ConvTranspose2d,
    Flatten,
    RepeatedOverSquares,
    SquareMeans,
    Unflatten,
    compute_as_pytorch,
    compute_without_kernels,
)
from vae_experiments.models.sequence import Layers

DEVICES = ["cpu", pytest.param("cuda", marks=needs_gpu)]


def values_and_gradients(layer: nn.Module, x: Tensor, weights: Tensor) -> list[Tensor]:
    """The output, and the gradients of a weighted sum of it to the input and the parameters."""
    x = x.clone().to(memory_format=torch.channels_last).requires_grad_()
    y = layer(x)
    layer.zero_grad()
    (y * weights).sum().backward()
    assert x.grad is not None
    return [y.detach(), x.grad, *[p.grad for p in layer.parameters() if p.grad is not None]]


def twin(layer: nn.Module, plain: nn.Module) -> nn.Module:
    plain.load_state_dict(layer.state_dict())
    return plain


@pytest.mark.parametrize("size", [(28, 28), (7, 5), (1, 3), (2, 2)], ids=str)
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("outputs", [1, 3, 8])
@pytest.mark.parametrize("device", DEVICES)
def test_a_convolution_is_pytorchs(device: str, outputs: int, kernel: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layer = Conv2d(6, outputs, kernel, padding=kernel // 2).to(device, torch.float64)
    x = torch.randn(3, 6, *size).to(device, torch.float64)
    weights = torch.randn(layer(x).shape).to(device, torch.float64)
    plain = twin(layer, nn.Conv2d(6, outputs, kernel, padding=kernel // 2).to(device, torch.float64))
    for ours, theirs in zip(
        values_and_gradients(layer, x, weights), values_and_gradients(plain, x, weights), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_a_few_output_channels_go_the_fast_way_and_only_in_training() -> None:
    layer, x = Conv2d(6, 1, 3, padding=1), torch.randn(2, 6, 4, 4)
    compute_without_kernels(layer)
    assert "ThinConvolution" in type(layer(x).grad_fn.next_functions[0][0]).__name__
    strided = Conv2d(6, 1, 3, padding=1, stride=2)
    compute_without_kernels(strided)
    assert "ThinConvolution" not in "".join(operations(strided(x)))
    with torch.no_grad():
        torch.testing.assert_close(layer(x), nn.functional.conv2d(x, layer.weight, layer.bias, padding=1))


OTHERS: dict[str, tuple[Callable[[], Conv2d | ConvTranspose2d], type[nn.Module]]] = {
    "a border that is not zero": (lambda: Conv2d(6, 4, 3, padding=1, padding_mode="reflect"), nn.Conv2d),
    "dilated": (lambda: Conv2d(6, 4, 3, padding=1, dilation=2), nn.Conv2d),
    "in groups": (lambda: Conv2d(6, 4, 3, padding=1, groups=2), nn.Conv2d),
    "not square": (lambda: Conv2d(6, 4, (3, 5), padding=1), nn.Conv2d),
    "without a bias": (lambda: Conv2d(6, 4, 3, padding=1, bias=False), nn.Conv2d),
    "padded to the same size": (lambda: Conv2d(6, 4, 3, padding="same"), nn.Conv2d),
    "transposed, without a bias": (lambda: ConvTranspose2d(6, 4, 3, bias=False), nn.ConvTranspose2d),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("device", DEVICES)
def test_any_other_convolution_is_pytorchs_too(device: str, name: str) -> None:
    make, own = OTHERS[name]
    layer = make().to(device)
    for x in (torch.randn(2, 6, 8, 8, device=device), torch.randn(6, 8, 8, device=device)):
        torch.testing.assert_close(layer(x), own.forward(layer, x))


def test_a_transposed_convolution_may_be_told_its_size() -> None:
    layer, x = ConvTranspose2d(6, 4, 3, stride=2), torch.randn(2, 6, 5, 5)
    assert layer(x, output_size=[12, 12]).shape == (2, 4, 12, 12)


def test_in_bfloat16_the_fast_way_is_no_less_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "has_tiles", lambda: False)  # where it is taken
    torch.manual_seed(0)
    layer, x, weights = Conv2d(32, 1, 3, padding=1), torch.randn(8, 32, 14, 14), torch.randn(8, 1, 14, 14)
    compute_without_kernels(layer)
    plain = twin(layer, nn.Conv2d(32, 1, 3, padding=1))
    exact = values_and_gradients(plain, x, weights)
    with torch.autocast("cpu", torch.bfloat16):
        ours = values_and_gradients(layer, x.bfloat16(), weights)
        theirs = values_and_gradients(plain, x.bfloat16(), weights)
    for truth, mine, other in zip(exact, ours, theirs, strict=True):
        assert (mine - truth).norm() <= 1.05 * (other - truth).norm()


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("device", DEVICES)
def test_a_transposed_convolution_is_pytorchs(device: str, stride: int) -> None:
    torch.manual_seed(0)
    layer = ConvTranspose2d(6, 4, 3, stride, 1, output_padding=stride - 1).to(device)
    compute_without_kernels(layer)  # which tests/kernels has
    plain = twin(layer, nn.ConvTranspose2d(6, 4, 3, stride, 1, output_padding=stride - 1).to(device))
    x = torch.randn(3, 6, 5, 4, device=device)
    weights = torch.randn(layer(x).shape).to(device, torch.float64)
    for ours, theirs in zip(
        values_and_gradients(layer, x, weights), values_and_gradients(plain, x, weights), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_images_are_flattened_and_restored_where_they_lie() -> None:
    x = torch.randn(3, 4, 5, 6).to(memory_format=torch.channels_last)
    flat = Flatten()(x)
    again = Unflatten(4, 5, 6)(flat)
    assert x.data_ptr() == flat.data_ptr() == again.data_ptr()
    assert torch.equal(again, x)
    assert again.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(Flatten()(x.contiguous()), flat)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=str)
def test_a_late_block_changes_nothing_before_its_time(precision: torch.dtype) -> None:
    layer = LateBlock(Conv2d(6, 6, 3, padding=1), start=2)
    layer.become_identity()
    x = torch.rand(2, 6, 5, 4).to(precision)
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        assert layer(x) is layer(x) is x
        assert torch.equal(layer.eval()(x), x)  # not counted, and computed
        y = layer.train()(x)
    assert torch.equal(y, x)
    y.sum().backward()
    assert layer.convolution.weight.grad is not None
    assert layer.passes == 2


def test_a_late_block_that_has_joined_is_its_convolution_and_a_relu() -> None:
    convolution, x = Conv2d(6, 6, 3, padding=1), torch.randn(2, 6, 5, 4)
    y = LateBlock(convolution, start=0)(x)
    assert torch.equal(y, convolution(x).relu())
    assert (y > 0).any()


def test_a_late_block_counts_on_from_a_checkpoint() -> None:
    layer, later = (LateBlock(Conv2d(6, 6, 3, padding=1), start=1) for _ in range(2))
    x = torch.rand(1, 6, 4, 4)
    assert layer(x) is x
    later.load_state_dict(layer.state_dict())
    assert later(x) is not x


def test_layers_are_pytorchs_one_after_another() -> None:
    torch.manual_seed(0)
    parts = [Conv2d(2, 5, 3, 2, padding=1), nn.ReLU(), ConvTranspose2d(5, 4, 3, 2, 1), nn.ReLU(), nn.ReLU(), nn.Tanh()]
    ours, theirs, x = Layers(*parts), nn.Sequential(*deepcopy(parts)), torch.randn(3, 2, 6, 5)
    compute_as_pytorch(theirs)
    weights = torch.randn_like(theirs(x))
    for a, b in zip(values_and_gradients(ours, x, weights), values_and_gradients(theirs, x, weights), strict=True):
        torch.testing.assert_close(a, b)
    with torch.no_grad():
        kept = x.clone()
        torch.testing.assert_close(ours(x), theirs(x))
        assert torch.equal(x, kept)
        seen: list[Tensor] = []
        with parts[0].register_forward_hook(lambda layer, inputs, y: seen.append(y)):
            ours(x)
        assert (seen[0] < 0).any()  # what somebody holds is not overwritten


@pytest.mark.parametrize("side", [1, 2, 3])
def test_squares_are_averaged_and_repeated_as_pytorch_does(side: int) -> None:
    torch.manual_seed(0)
    x, z = torch.randn(2, 3, 12, 6, dtype=torch.float64), torch.randn(2, 3, 4, 2, dtype=torch.float64)
    for ours, theirs, given in (
        (SquareMeans(side), nn.AvgPool2d(side), x),
        (RepeatedOverSquares(side), nn.Upsample(scale_factor=side), z),
    ):
        weights = torch.randn_like(theirs(given))
        for a, b in zip(
            values_and_gradients(ours, given, weights), values_and_gradients(theirs, given, weights), strict=True
        ):
            torch.testing.assert_close(a, b)
