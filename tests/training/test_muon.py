"""Muon beside its definition: singular values brought near 1, Adam for what is no matrix."""

import torch
from torch import Tensor, nn

from vae_experiments.training.muon import COEFFICIENTS, Muon, orthogonal


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.Conv2d(32, 64, 3), nn.Flatten(), nn.Linear(64 * 16, 32), nn.Linear(32, 2)
    ).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def backward(model: nn.Module, seed: int = 1) -> None:
    torch.manual_seed(seed)
    model.zero_grad()
    model(torch.randn(4, 1, 8, 8)).square().sum().backward()


def test_the_iteration_is_that_on_singular_values() -> None:
    torch.manual_seed(0)
    matrices = [torch.randn(shape) for shape in [(16, 300), (300, 16), (40, 50)]]
    for matrix, ours in zip(matrices, orthogonal(matrices, 5), strict=True):
        check(matrix.double(), ours)


def test_no_matrices_and_no_momentum_are_no_trouble() -> None:
    assert orthogonal([], 5) == []
    (still,) = orthogonal([torch.zeros(16, 20)], 5)
    assert torch.equal(still, torch.zeros(16, 20))


def check(matrix: Tensor, ours: Tensor) -> None:
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    a, b, c = COEFFICIENTS
    s = values / values.norm()
    for _ in range(5):
        s = a * s + b * s**3 + c * s**5
    expected = left @ torch.diag(s) @ right
    assert s.min() > 0.6
    assert s.max() < 1.3
    torch.testing.assert_close(ours.double(), expected, rtol=1e-3, atol=1e-3)


def test_a_first_step_is_the_orthogonal_gradient_for_matrices_and_adams_for_the_rest() -> None:
    model, adams = network(), network()
    optimizer = Muon(model.parameters(), lr=1e-3, matrix_lr=0.02, momentum=0.9, fused=False)
    adam = torch.optim.Adam(adams.parameters(), lr=1e-3, betas=(0.9, 0.95))
    backward(model)
    backward(adams)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    optimizer.step()
    adam.step()
    for (name, ours), theirs in zip(model.named_parameters(), adams.parameters(), strict=True):
        if name in ("1.weight", "3.weight"):  # [64, 32 * 9] and [32, 1024]
            (update,) = orthogonal([gradients[name].flatten(1)], 5)
            torch.testing.assert_close(before[name] - ours, 0.02 * update.view_as(ours), rtol=1e-3, atol=1e-5)
        else:
            torch.testing.assert_close(ours, theirs)


def test_a_schedule_moves_both_rates() -> None:
    model = network()
    optimizer = Muon(model.parameters(), lr=1e-3, matrix_lr=0.02)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    before = [p.detach().clone() for p in model.parameters()]
    backward(model)
    optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_it_continues_from_its_state() -> None:
    whole, first, second = network(), network(), network()
    a, b, c = (Muon(m.parameters()) for m in (whole, first, second))
    for seed in range(4):
        backward(whole, seed)
        a.step()
    for seed in range(2):
        backward(first, seed)
        b.step()
    second.load_state_dict(first.state_dict())
    c.load_state_dict(b.state_dict())
    for seed in range(2, 4):
        backward(second, seed)
        c.step()
    assert all(torch.equal(p, q) for p, q in zip(whole.parameters(), second.parameters(), strict=True))
