"""A run that was saved and loaded goes on in the same bits, with any optimizer and schedule."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import SGD, Adagrad, Adam, AdamW, NAdam, Optimizer, RMSprop
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    ReduceLROnPlateau,
    StepLR,
)

from vae_experiments.models.architectures import MLP
from vae_experiments.models.build import build_vae
from vae_experiments.models.likelihoods import Bernoulli
from vae_experiments.models.posteriors import DiagonalGaussian
from vae_experiments.models.priors import StandardNormal
from vae_experiments.training.checkpoints import LAST, digest, load_checkpoint, save_checkpoint
from vae_experiments.training.randomness import stream
from vae_experiments.training.state import TrainingState

STEPS = 8

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "Adam": lambda p: Adam(p, lr=0.01),
    "Adam-amsgrad": lambda p: Adam(p, lr=0.01, amsgrad=True),
    "AdamW": lambda p: AdamW(p, lr=0.01, weight_decay=0.1),
    "SGD-momentum": lambda p: SGD(p, lr=0.01, momentum=0.9, nesterov=True),
    "RMSprop": lambda p: RMSprop(p, lr=0.01, momentum=0.5, centered=True),
    "NAdam": lambda p: NAdam(p, lr=0.01),
    "Adagrad": lambda p: Adagrad(p, lr=0.01, lr_decay=0.1),
}
SCHEDULERS: dict[str, Callable[[Optimizer], LRScheduler | None]] = {
    "none": lambda o: None,
    "OneCycleLR": lambda o: OneCycleLR(o, 0.1, STEPS, cycle_momentum=bool({"betas", "momentum"} & o.defaults.keys())),
    "CosineAnnealingLR": lambda o: CosineAnnealingLR(o, STEPS),
    "StepLR": lambda o: StepLR(o, 3, 0.5),
    "MultiStepLR": lambda o: MultiStepLR(o, [2, 5, 5, 7], 0.5),
    "ExponentialLR": lambda o: ExponentialLR(o, 0.8),
    "CosineAnnealingWarmRestarts": lambda o: CosineAnnealingWarmRestarts(o, 3),
    "ReduceLROnPlateau": lambda o: ReduceLROnPlateau(o, patience=1, threshold=10.0, cooldown=1),
}


def begin(optimizer: str, scheduler: str, seed: int) -> TrainingState:
    """A state with weights, streams and everything else of that seed."""
    torch.manual_seed(seed)
    vae = build_vae(MLP(latent_dim=2, hidden=[8]), DiagonalGaussian, StandardNormal, Bernoulli(), (1, 4, 4))
    chosen = OPTIMIZERS[optimizer](vae.parameters())
    return TrainingState(vae, chosen, SCHEDULERS[scheduler](chosen), stream(seed, "training"))


def train(state: TrainingState, steps: int) -> list[float]:
    """Trains on images of the state's own stream; the learning rates it went through."""
    rates = []
    for _ in range(steps):
        x = torch.rand(5, 1, 4, 4, generator=state.generator)
        loss = (state.vae.reconstruct(x) - x).square().sum()
        loss = loss + 0.01 * (torch.rand(()) * state.vae.encode(x).mean).square().sum()  # the global stream's, too
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        state.optimizer.step()
        if isinstance(state.scheduler, ReduceLROnPlateau):
            state.scheduler.step(loss.item())
        elif state.scheduler is not None:
            state.scheduler.step()
        state.step += 1
        state.sums += loss.detach().double()
        rates.append(float(state.optimizer.param_groups[0]["lr"]))
    return rates


def through_a_file(state: TrainingState, folder: Path) -> dict[str, Any]:
    save_checkpoint(folder, {"state": state.state_dict()})
    loaded: dict[str, Any] = load_checkpoint(folder / LAST)["state"]
    return loaded


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_saved_and_loaded_it_goes_on_to_the_same_bits(tmp_path: Path, optimizer: str, scheduler: str) -> None:
    undisturbed = begin(optimizer, scheduler, seed=0)
    rates = train(undisturbed, STEPS)
    expected = digest(undisturbed.state_dict())
    if scheduler != "none":
        assert len(set(rates)) > 1  # or it would prove nothing

    first = begin(optimizer, scheduler, seed=0)
    assert train(first, 4) == rates[:4]
    saved = through_a_file(first, tmp_path)
    resumed = begin(optimizer, scheduler, seed=1)
    resumed.load_state_dict(saved)
    assert digest(resumed.state_dict()) == digest(first.state_dict())
    assert train(resumed, STEPS - 4) == rates[4:]
    assert digest(resumed.state_dict()) == expected


def test_saving_changes_nothing(tmp_path: Path) -> None:
    watched, undisturbed = (begin("Adam", "OneCycleLR", seed=0) for _ in range(2))
    torch.manual_seed(2)
    train(undisturbed, STEPS)
    torch.manual_seed(2)
    for _ in range(STEPS):
        train(watched, 1)
        through_a_file(watched, tmp_path)
    assert digest(watched.state_dict()) == digest(undisturbed.state_dict())


def test_an_epochs_end_is_part_of_the_state(tmp_path: Path) -> None:
    state = begin("Adam", "none", seed=0)
    state.batch, state.images, state.seconds, state.best_epoch, state.best_value = 3, 12, 1.5, 1, -2.5
    train(state, 1)
    state.end_epoch({"val/elbo": -2.5})
    assert (state.epoch, state.batch, state.images, state.seconds) == (1, 0, 0, 0.0)
    assert not state.sums.any()
    loaded = begin("Adam", "none", seed=1)
    loaded.load_state_dict(through_a_file(state, tmp_path))
    assert (loaded.epoch, loaded.step, loaded.best_epoch, loaded.best_value) == (1, 1, 1, -2.5)
    assert loaded.history == [{"val/elbo": -2.5}]


def test_a_schedulers_state_that_is_not_plain_is_refused() -> None:
    state = begin("Adam", "StepLR", seed=0)
    assert state.scheduler is not None
    state.scheduler.surprise = object()  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="state holds a object"):
        state.state_dict()
