"""One seed, and streams that have nothing to do with each other."""

import pytest
import torch

from vae_experiments.training.randomness import stream

PURPOSES = ["training", "validation", "test", "samples", ""]


def draws(seed: int, purpose: str, n: int = 4096) -> torch.Tensor:
    return torch.randn(n, generator=stream(seed, purpose), dtype=torch.float64)


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_stream_repeats(purpose: str) -> None:
    assert torch.equal(draws(5, purpose), draws(5, purpose))


def test_drawing_from_one_leaves_the_others_and_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    expected = draws(5, "validation")
    training = stream(5, "training")
    torch.randn(100, generator=training)
    assert torch.equal(draws(5, "validation"), expected)
    assert torch.equal(torch.get_rng_state(), before)


def test_streams_are_uncorrelated_between_purposes_and_seeds() -> None:
    names = [(seed, purpose) for seed in (0, 1, 2, 2**31, 2**32) for purpose in PURPOSES]
    table = torch.stack([draws(*name) for name in names])
    off_diagonal = torch.corrcoef(table) - torch.eye(len(names), dtype=torch.float64)
    assert off_diagonal.abs().max() < 6 / 4096**0.5  # six standard errors


def test_seeds_that_follow_each_other_give_states_that_do_not() -> None:
    states = {stream(seed, "training").initial_seed() for seed in range(1000)}
    assert len(states) == 1000
    assert min(states) >= 0
    assert max(states) > 2**60  # all of the state's bits are used
