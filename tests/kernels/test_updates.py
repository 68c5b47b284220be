"""The norm of a gradient and Adam's update by our own kernel, beside PyTorch's in float64."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from support import needs_float32
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from vae_experiments.kernels import compiled, updates
from vae_experiments.kernels.updates import Trained
from vae_experiments.training.adam import Adam
from vae_experiments.training.step import gradient_norm

pytestmark = needs_float32

SHAPES = [(64, 32, 3, 3), (1,), (33,), (0,), (5, 3), (70, 129), (2, 3, 5, 7)]


def tensors(seed: int, scale: float = 1.0) -> list[Tensor]:
    """Of a network's shapes; kernels channels_last, as they are on a CPU."""
    generator = torch.Generator().manual_seed(seed)
    made = [scale * torch.randn(shape, generator=generator) for shape in SHAPES]
    return [t.to(memory_format=torch.channels_last) if t.dim() == 4 else t for t in made]


@pytest.mark.parametrize("scale", [1e-15, 1.0, 1e15])
def test_the_norm_is_that_of_all_gradients_together(scale: float) -> None:
    gradients = tensors(1, scale)
    norm = updates.norm(gradients)
    assert norm is not None
    assert norm.shape == ()
    torch.testing.assert_close(norm.double(), get_total_norm([g.double() for g in gradients]), rtol=1e-6, atol=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_makes_the_norm_so(value: float) -> None:
    for i, last in [(0, 64 * 32 * 9 - 1), (2, 32), (6, 0)]:
        gradients = tensors(1)
        broken = gradients[i].permute(0, 2, 3, 1).reshape(-1) if gradients[i].dim() == 4 else gradients[i]
        broken[last] = value
        norm = updates.norm(gradients)
        assert norm is not None
        assert not norm.isfinite()


def test_the_norm_of_nothing_is_zero() -> None:
    assert gradient_norm([]).item() == 0.0
    assert gradient_norm([torch.empty(0)]).item() == 0.0


def test_other_gradients_are_pytorchs() -> None:
    for other in (torch.ones(4, dtype=torch.float64), torch.ones(4, 4)[:, ::2]):
        assert updates.norm([torch.ones(3), other]) is None
        assert gradient_norm([torch.ones(3), other]).item() == pytest.approx((3 + other.numel()) ** 0.5)


def test_the_number_of_threads_changes_no_bit() -> None:
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            parameters = steps(Adam, 3, lr=0.1, weight_decay=0.1)
            results.append([*parameters, gradient_norm(tensors(1))])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for others in results[1:] for a, b in zip(results[0], others, strict=True))


def parameters_of(dtype: torch.dtype = torch.float32) -> list[nn.Parameter]:
    return [nn.Parameter(t.to(dtype)) for t in tensors(0)]


def set_gradients(parameters: Sequence[nn.Parameter], step: int) -> None:
    for parameter, gradient in zip(parameters, tensors(100 + step, 10.0 ** (step % 5 - 3)), strict=True):
        parameter.grad = gradient.to(parameter.dtype)


def steps(
    optimizer: type[torch.optim.Optimizer], n: int, dtype: torch.dtype = torch.float32, **settings: Any
) -> list[Tensor]:
    """The parameters after that many steps."""
    parameters = parameters_of(dtype)
    trained = optimizer(parameters, **settings)
    for step in range(n):
        set_gradients(parameters, step)
        trained.step()
    return [p.detach() for p in parameters]


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("decoupled", [False, True])
def test_steps_are_those_of_pytorchs_adam(decay: float, decoupled: bool) -> None:
    settings = {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": decay}
    ours = steps(Adam, 20, decoupled_weight_decay=decoupled, **settings)
    pytorchs = torch.optim.AdamW if decoupled else torch.optim.Adam
    exactly = steps(pytorchs, 20, torch.float64, **settings)
    roughly = steps(pytorchs, 20, fused=True, **settings)
    for a, b, c in zip(ours, exactly, roughly, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(a, c, rtol=1e-5, atol=1e-6)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The parameters of each call of the kernel from now on."""
    calls: list[int] = []
    computed = updates.adam

    def noted(parameters: Sequence[Trained], **settings: Any) -> None:
        calls.append(len(parameters))
        computed(parameters, **settings)

    monkeypatch.setattr(updates, "adam", noted)
    return calls


def test_the_first_step_is_pytorchs_and_the_rest_are_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted(monkeypatch)
    steps(Adam, 4)
    assert calls == [len(SHAPES)] * 3


@pytest.mark.parametrize("setting", [{"fused": False}, {"amsgrad": True}])
def test_other_forms_are_pytorchs(setting: dict[str, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted(monkeypatch)
    ours, theirs = (steps(optimizer, 3, **{"fused": True} | setting) for optimizer in (Adam, torch.optim.Adam))
    assert calls == []
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_other_numbers_are_pytorchs(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted(monkeypatch)
    ours = steps(Adam, 3, torch.float64)
    assert calls == []
    assert all(
        torch.equal(a, b) for a, b in zip(ours, steps(torch.optim.Adam, 3, torch.float64, fused=True), strict=True)
    )


def test_gradients_and_moments_may_lie_in_another_order(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted(monkeypatch)
    results = []
    for dtype in (torch.float32, torch.float64):
        parameters = parameters_of(dtype)
        trained: torch.optim.Optimizer = Adam(parameters) if dtype == torch.float32 else torch.optim.Adam(parameters)
        for step in range(4):
            set_gradients(parameters, step)
            parameters[0].grad = tensors(100 + step)[0].contiguous().to(dtype)
            if step == 2:
                state = trained.state[parameters[0]]
                state["exp_avg"] = state["exp_avg"].contiguous()
            trained.step()
        results.append(parameters)
    assert calls == [len(SHAPES)] * 3
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-5, atol=1e-6)


def test_strides_of_a_single_filter_mean_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted(monkeypatch)
    weight = nn.Parameter(torch.rand(1, 32, 3, 3).to(memory_format=torch.channels_last))
    optimizer = Adam([weight])
    for _ in range(2):
        weight.grad = torch.rand(32, 3, 3).permute(1, 2, 0).contiguous().permute(2, 0, 1)[None]
        weight.grad = weight.grad.as_strided(weight.shape, (32, 1, 96, 32))  # as a product leaves it
        optimizer.step()
    assert weight.grad is not None
    assert weight.grad.stride() != weight.stride()
    assert calls == [1]


def test_kernels_that_nobody_would_take_are_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "updates", lambda: pytest.fail("compiled for nothing"))
    steps(Adam, 2, fused=False)
    parameters = parameters_of()
    optimizer = Adam(parameters)
    optimizer.compiled = False
    for step in range(2):
        set_gradients(parameters, step)
        optimizer.step()


def test_a_scaled_gradient_is_pytorchs() -> None:
    weights = [nn.Parameter(torch.ones(3)) for _ in range(2)]
    for weight, optimizer in zip(
        weights, (Adam([weights[0]]), torch.optim.Adam([weights[1]], fused=True)), strict=True
    ):
        for value in (1.0, float("inf"), 1.0):
            weight.grad = torch.full((3,), 8 * value)
            optimizer.grad_scale = torch.tensor(8.0)  # type: ignore[attr-defined]
            optimizer.found_inf = torch.tensor(float(value == float("inf")))  # type: ignore[attr-defined]
            optimizer.step()
    assert weights[0].isfinite().all()
    assert torch.equal(*weights)


def test_parameters_without_a_gradient_stay_and_count_no_step() -> None:
    parameters = parameters_of()
    optimizer = Adam(parameters)
    for step in range(3):
        set_gradients(parameters, step)
        if step == 1:
            parameters[2].grad = None
            before = parameters[2].detach().clone()
        optimizer.step()
        if step == 1:
            assert torch.equal(parameters[2], before)
    assert optimizer.state[parameters[2]]["step"].item() == 2
    assert optimizer.state[parameters[0]]["step"].item() == 3


def test_groups_have_rates_of_their_own() -> None:
    parameters = parameters_of()
    optimizer = Adam([{"params": parameters[:3], "lr": 0.0}, {"params": parameters[3:], "lr": 0.1}])
    before = [p.detach().clone() for p in parameters]
    for step in range(3):
        set_gradients(parameters, step)
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before[:3], parameters[:3], strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(before[3:], parameters[3:], strict=True) if a.numel())


def test_its_state_is_pytorchs_in_both_directions() -> None:
    whole, parts = parameters_of(), parameters_of()
    one = Adam(whole, lr=0.01)
    optimizers: list[torch.optim.Optimizer] = [Adam(parts, lr=0.01), torch.optim.Adam(parts, lr=0.01, fused=True)]
    for step in range(6):
        ours, theirs = optimizers[step % 2], optimizers[1 - step % 2]
        set_gradients(whole, step)
        set_gradients(parts, step)
        one.step()
        ours.step()
        theirs.load_state_dict(ours.state_dict())
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_weights_that_a_graph_has_seen_cannot_be_changed_behind_its_back() -> None:
    parameters = parameters_of()
    optimizer = Adam(parameters)
    for step in range(2):
        set_gradients(parameters, step)
        optimizer.step()
    kept = parameters[5].square().sum()
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        kept.backward()
