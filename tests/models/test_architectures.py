"""The seed's parameter counts, and networks that fit any image."""

from math import prod
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from vae_experiments.data.sources.mnist5k import MNIST5K
from vae_experiments.data.splits import Fractions
from vae_experiments.errors import InputError
from vae_experiments.models.architectures import MLP, Architecture, Conv, ResNet
from vae_experiments.models.architectures.resnet import ResidualBlock
from vae_experiments.models.build import build_vae
from vae_experiments.models.initialization import is_activation
from vae_experiments.models.likelihoods import Bernoulli
from vae_experiments.models.posteriors import DiagonalGaussian
from vae_experiments.models.priors import StandardNormal
from vae_experiments.models.vae import VAE
from vae_experiments.objectives import ELBO, Progress
from vae_experiments.tracking.models import halves, save_model


def build(architecture: Architecture, shape: tuple[int, int, int]) -> VAE:
    return build_vae(architecture, DiagonalGaussian, StandardNormal, Bernoulli(), shape)


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_the_default_is_the_seeds_network() -> None:
    vae = build(Conv(), (1, 28, 28))
    assert parameters(vae) == 550_629
    assert parameters(vae.decoder) == 56_385


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 64, 64), (1, 27, 31), (2, 1, 1), (1, 5, 40)])
@pytest.mark.parametrize(
    "architecture",
    [
        Conv(),
        Conv(filters=[4, 8], strides=[2, 2]),
        Conv(filters=[4, 8, 8], strides=[3, 1, 2], kernel_size=5, latent_dim=7),
        Conv(filters=[4], strides=[1], kernel_size=1),
        MLP(hidden=[16, 8]),
        ResNet(channels=[4, 8, 8], blocks=2, dense=16),
        ResNet(channels=[4], dense=8, latent_dim=5, activation="gelu"),
    ],
)
def test_reconstructs_exactly_the_inputs_shape(architecture: Architecture, shape: tuple[int, int, int]) -> None:
    vae = build(architecture, shape)
    x = torch.rand(3, *shape)
    output = vae(x, torch.randn(3, architecture.latent_dim))
    assert output.z.shape == (3, architecture.latent_dim)
    assert output.params.shape == x.shape
    assert vae.reconstruct(x).shape == x.shape


def coloured_digits(n: int) -> Tensor:
    """Digits at 64 x 64, each in a colour of its own on another."""
    rng = np.random.default_rng(0)
    digits = MNIST5K(split=Fractions()).load().images[rng.permutation(5000)[:n]]
    grey = interpolate(torch.from_numpy(digits).float() / 255, (64, 64), mode="bilinear")
    ink, paper = torch.from_numpy(rng.random((2, n, 3, 1, 1))).float()
    return grey * ink + (1 - grey) * paper


def train(vae: VAE, x: Tensor, steps: int) -> list[float]:
    optimizer = torch.optim.Adam(vae.parameters(), 1e-3)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for step in range(steps):
        rows = torch.arange(step * 8, step * 8 + 8) % len(x)
        progress = Progress(step, 1, steps, len(x))
        loss = ELBO()(vae, x[rows], vae.posterior.noise(8, generator), progress).loss.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item() / prod(vae.image_shape))
    return losses


def test_a_resnet_learns_coloured_digits_of_64_pixels() -> None:
    torch.manual_seed(0)
    vae = build(ResNet(latent_dim=16), (3, 64, 64))
    x = coloured_digits(8)
    losses = train(vae, x, 15)
    assert np.isfinite(losses).all()
    assert losses[0] < 0.75  # nats per value: a fresh network says grey, log 2
    # Of what a perfect reconstruction would save, half within fifteen steps.
    entropy = -(torch.xlogy(x, x) + torch.xlogy(1 - x, 1 - x)).mean().item()
    assert np.mean(losses[-3:]) - entropy < 0.5 * (losses[0] - entropy)


def test_a_residual_block_begins_as_the_identity_and_can_be_trained_away_from_it() -> None:
    torch.manual_seed(0)
    vae = build(ResNet(channels=[4, 8], blocks=2, dense=8), (3, 10, 12))
    blocks = [module for module in vae.modules() if isinstance(module, ResidualBlock)]
    assert len(blocks) == 2 * 2 * 2
    x = torch.randn(2, 8, 5, 6)
    fitting = [block for block in blocks if block.branch[1].in_channels == 8]
    assert all(torch.equal(block(x), x) for block in fitting)
    train(vae, torch.rand(20, 3, 10, 12), 3)
    assert all(not torch.equal(block(x), x) for block in fitting)
    assert all(parameter.grad is not None for parameter in vae.parameters())


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 27, 31)])
def test_a_resnet_is_exported_with_any_number_of_images(shape: tuple[int, int, int], tmp_path: Path) -> None:
    vae = build(ResNet(channels=[4, 8], dense=8, latent_dim=3), shape).eval()
    for name, (module, example) in halves(vae).items():
        save_model(module, example, tmp_path / name)
        loaded = mlflow.pytorch.load_model(str(tmp_path / name))
        given = torch.rand(5, *example.shape[1:])
        with torch.no_grad():
            torch.testing.assert_close(loaded(given), module(given), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("keys", "says"),
    [({"channels": []}, "at least one stage"), ({"activation": "rleu"}, "no such activation")],
)
def test_a_resnet_that_cannot_be_is_refused(keys: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        ResNet(**keys)  # type: ignore[arg-type]


def test_weights_are_glorot_uniform_and_biases_zero() -> None:
    torch.manual_seed(0)
    vae = build(Conv(), (1, 28, 28))
    layer = vae.encoder[2]  # 32 -> 64, 3 x 3
    bound = (6 / (9 * 32 + 9 * 64)) ** 0.5
    assert bound * 0.99 < layer.weight.abs().max() <= bound
    assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    others = [p for name, p in vae.named_parameters() if name.endswith("bias") and "log_scale" not in name]
    assert all((p == 0).all() for p in others)


def test_he_keeps_signals_of_one_size_and_outputs_near_zero() -> None:
    torch.manual_seed(0)
    vae = build(Conv(initialization="he", filters=[64, 64], strides=[1, 2], dense=256), (1, 28, 28))
    x = torch.randn(64, 1, 28, 28)
    sizes = []
    for layer in vae.encoder:
        x = layer(x)
        if is_activation(layer):
            sizes.append(x.square().mean().item())
    assert all(0.3 < size < 3 for size in sizes), sizes  # Glorot's are about 0.01
    logits = vae.decoder(torch.randn(64, 2))
    assert 0.05 < logits.std() < 1
    assert all((p == 0).all() for name, p in vae.decoder.named_parameters() if name.endswith("bias"))


def test_a_network_that_sees_squares_is_a_smaller_network_of_their_means() -> None:
    torch.manual_seed(0)
    coarse, small = (build(MLP(hidden=[8], square=side), (3, 28 // 2 * side, 6 * side)) for side in (2, 1))
    small.load_state_dict(dict(zip(small.state_dict(), coarse.state_dict().values(), strict=True)))
    x = torch.rand(4, 3, 28, 12)
    torch.testing.assert_close(coarse.encode(x).mean, small.encode(nn.functional.avg_pool2d(x, 2)).mean)
    z = torch.randn(4, 2)
    torch.testing.assert_close(coarse.decode(z), interpolate(small.decode(z), scale_factor=2))
    with pytest.raises(InputError, match=r"architecture\.square=3: images of 28x28 pixels"):
        build(MLP(square=3), (1, 28, 28))


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"filters": []}, "at least one convolution"),
        ({"filters": [8, 8], "strides": [1]}, "one stride for each"),
        ({"kernel_size": 4}, "must be odd"),
        ({"kernel_size": 1, "strides": [1, 2, 1, 1]}, "larger than the kernel"),
        ({"activation": "rleu"}, "relu"),
    ],
)
def test_a_network_that_cannot_be_is_refused(keys: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Conv(**keys)  # type: ignore[arg-type]
