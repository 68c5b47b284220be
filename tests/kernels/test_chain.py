"""Layers of several kinds in one chain, beside PyTorch's in float64."""

from copy import deepcopy

import pytest
import torch
from support import needs_bfloat16, operations
from torch import Tensor, nn

from vae_experiments.models.layers import (
    Conv2d,
    ConvTranspose2d,
    Flatten,
    Linear,
    Unflatten,
    compute_as_pytorch,
)
from vae_experiments.models.sequence import Layers

pytestmark = needs_bfloat16


def network(relu: bool = True) -> Layers:
    """There and back: from images to rows, and to images again."""
    torch.manual_seed(0)
    between = (nn.ReLU(),) if relu else ()
    made = Layers(
        *(Conv2d(3, 20, 3, 2, 1), *between, Conv2d(20, 6, 3, padding=1), *between, Flatten()),
        *(Linear(4 * 5 * 6, 32), *between, Linear(32, 4 * 5 * 8), *between, Unflatten(8, 4, 5)),
        *(ConvTranspose2d(8, 20, 3, 2, 1, 1), *between, Conv2d(20, 1, 3, padding=1)),
    )
    made.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for p in made.parameters():
        p.data = p.data.bfloat16().float()
    return made


def images(batch: int) -> Tensor:
    torch.manual_seed(1)
    return torch.rand(batch, 3, 8, 10).bfloat16().float()


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("batch", [1, 5])
def test_convolutions_and_dense_layers_are_one_chain(relu: bool, batch: int) -> None:
    ours, x = network(relu), images(batch).requires_grad_()
    exactly, exact = deepcopy(ours).double(), x.detach().double().requires_grad_()
    compute_as_pytorch(exactly)
    with torch.autocast("cpu", torch.bfloat16):
        y = ours(x)
    z = exactly(exact)
    assert operations(y).count("_ChainBackward") == 1
    assert y.shape == z.shape
    y.float().square().sum().backward()
    z.square().sum().backward()
    pairs = [(y.detach(), z.detach()), (x.grad, exact.grad)]
    pairs += [(p.grad, q.grad) for p, q in zip(ours.parameters(), exactly.parameters(), strict=True)]
    for a, b in pairs:
        assert a is not None
        assert b is not None
        assert float((a.double() - b).norm() / b.norm()) < 2**-5  # seven roundings, and ReLUs near zero


def test_without_gradients_the_same_comes_out() -> None:
    ours, x = network(), images(4)
    with torch.autocast("cpu", torch.bfloat16):
        y = ours(x)
        with torch.no_grad():
            assert torch.equal(ours(x), y)


def test_a_chain_may_be_differentiated_while_another_is_computed() -> None:
    """What the first one keeps is its own."""
    ours, x = network(), images(4)
    gradients = []
    for others in (0, 3):
        ours.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            y = ours(x)
            for _ in range(others):
                ours(torch.rand(4, 3, 8, 10)).float().sum().backward()
        ours.zero_grad()
        y.float().sum().backward()
        gradients.append([p.grad for p in ours.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_whoever_looks_between_sees_what_is_there() -> None:
    ours, x = network(), images(2)
    with torch.autocast("cpu", torch.bfloat16):
        y = ours(x)
        seen: list[Tensor] = []
        ours[4].register_forward_hook(lambda layer, inputs, output: seen.append(output))
        assert torch.equal(ours(x), y)
    assert seen[0].shape == (2, 120)


def test_the_shape_comes_out_that_the_last_layer_gives() -> None:
    ours, x = network(), images(2)
    with torch.autocast("cpu", torch.bfloat16):
        rows = Layers(*ours[:5])(x)
        assert rows.shape == (2, 120)
        assert torch.equal(Flatten()(Layers(*ours[:4])(x)), rows)


def test_weights_that_are_laid_out_anew_meanwhile_are_refused() -> None:
    ours = network()
    with torch.autocast("cpu", torch.bfloat16):
        y = ours(images(2))
    ours.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    with pytest.raises(RuntimeError, match="another order in memory"):
        y.float().sum().backward()


def test_rows_of_another_length_than_the_images_are_refused() -> None:
    wrong = Layers(Linear(4, 30), Unflatten(8, 2, 2), Conv2d(8, 1, 1))
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(RuntimeError, match="invalid"):
        wrong(torch.rand(2, 4))
