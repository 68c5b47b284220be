"""Contestants of the bench train one network on one loss, and the bench would notice one that did not."""

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vae_experiments.models.architectures import Conv
from vae_experiments.models.build import build_vae
from vae_experiments.models.likelihoods import Bernoulli
from vae_experiments.models.posteriors import DiagonalGaussian
from vae_experiments.models.priors import StandardNormal
from vae_experiments.models.vae import VAE
from vae_experiments.objectives import ELBO, Progress

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
DENSE = 64 * 14 * 14


@pytest.fixture(autouse=True)
def _beside_the_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its modules are found as when it runs."""
    monkeypatch.syspath_prepend(BENCHMARKS)


def bench(name: str) -> ModuleType:
    return importlib.import_module(name)


def seeds_network() -> VAE:
    return build_vae(
        Conv(latent_dim=2, batch_size=16),
        lambda features, latent_dim: DiagonalGaussian(features, latent_dim, limit=None, initial=None),
        lambda latent_dim, image_shape: StandardNormal(latent_dim, image_shape),
        Bernoulli(),
        (1, 28, 28),
    )


def channels_first(weight: Tensor) -> Tensor:
    """Ours flatten [H, W, C], the peers [C, H, W]."""
    order = torch.arange(DENSE).view(14, 14, 64).permute(2, 0, 1).flatten()
    if weight.shape == (32, DENSE):
        return weight[:, order]
    return weight[order] if len(weight) == DENSE else weight


def test_the_same_weights_and_draws_give_the_same_loss_and_gradient() -> None:
    torch.manual_seed(0)
    vae, peer = seeds_network(), bench("peers.eager").VAE()
    assert sum(p.numel() for p in peer.parameters()) == bench("training").PARAMETERS
    for mine, its in zip(vae.parameters(), peer.parameters(), strict=True):
        nn.init.normal_(mine, std=0.1)  # biases too
        its.data.copy_(channels_first(mine.detach()))
    x = torch.rand(7, 1, 28, 28)

    torch.manual_seed(3)
    noise = torch.randn(7, 2)
    loss = ELBO()(vae, x, noise, Progress(0, 1, 1, 7)).loss.mean()
    torch.manual_seed(3)
    its_loss = peer(x)
    assert its_loss.item() == pytest.approx(loss.item(), rel=1e-5)

    loss.backward()
    its_loss.backward()
    for mine, its in zip(vae.parameters(), peer.parameters(), strict=True):
        assert mine.grad is not None
        torch.testing.assert_close(its.grad, channels_first(mine.grad), rtol=1e-3, atol=1e-3)


def test_the_work_of_a_step_is_counted_from_the_layers() -> None:
    taps = 3 * 3
    first = 28 * 28 * taps * 1 * 32
    others = 14 * 14 * taps * (32 * 64 + 64 * 64 + 64 * 64 + 64 * 32) + 28 * 28 * taps * 32 * 1
    dense = DENSE * 32 + 2 * (32 * 2) + 2 * DENSE
    # Each multiplication and addition forwards has one for the weights and one for the input backwards; the images
    # have no gradient.
    assert bench("roof").flop_per_image() == 2 * (3 * (first + others + dense) - first)


def test_contestants_on_one_loss_agree_and_one_on_another_does_not() -> None:
    agreement = bench("training").agreement
    generator = np.random.default_rng(0)
    alike = generator.normal(190, 3, size=(2000, 5, 3))  # bench after bench: five contestants, three seeds
    refused = 0
    for losses in alike:
        tolerance, middle = agreement(losses.tolist())
        refused += int((abs(losses.mean(1) - middle) > tolerance).any())
    assert refused < 0.02 * len(alike)

    losses = alike[0]
    losses[2] += 25  # trained on another loss
    tolerance, middle = agreement(losses.tolist())
    assert (abs(losses.mean(1) - middle) > tolerance).tolist() == [False, False, True, False, False]


def test_one_round_has_no_verdict() -> None:
    assert bench("training").agreement([[190.0], [200.0], [191.0]]) == (None, 191.0)


def test_the_page_quotes_medians_ratios_and_the_odd_one_out() -> None:
    training, settings = bench("training"), bench("settings")
    result = training.Measured(settings.Settings(rounds=3))
    result.roof = [{"bfloat16": 1000.0, "float32": 200.0, "flop_per_image": 1e8}] * 3
    speeds = {"ours": (2000, 1900, 2400), "eager": (500, 400, 600), "keras_tf": (400, 450, 420)}
    losses = {"ours": 190.0, "eager": 191.0, "keras_tf": 150.0}
    for contestant in training.CONTESTANTS:
        if contestant.script not in speeds:
            result.left_out[contestant.name] = "its environment could not be made: no network"
            continue
        for batch_size in training.BATCH_SIZES:
            for number, speed in enumerate(speeds[contestant.script]):
                held_out = losses[contestant.script] + number
                answer = bench("peers.contestant").Answer(speed, [300, 200, 195], held_out, 550_629, "float32", {})
                result.answers[contestant.name, batch_size].append(vars(answer))
    page = training.markdown(result)
    assert "Left out: pythae's trainer (its environment could not be made: no network)." in page
    lines = page.splitlines()
    assert "| this project | float32 | 2,000 (1,900 to 2,400) | 4.00 (4.00 to 4.75) | 200 | 20% | 100% |" in lines
    assert "| Keras 3 on TensorFlow | 300.0 | 200.0 | 195.0 | 151.0 +- 1.0 | -40.0 | **DOES NOT AGREE** |" in lines
    assert "| this project | 300.0 | 200.0 | 195.0 | 191.0 +- 1.0 | +0.0 | agrees |" in lines
