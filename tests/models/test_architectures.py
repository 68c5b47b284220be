"""The seed's parameter counts, and networks that fit any image."""

import pytest
import torch

from vae_experiments.errors import InputError
from vae_experiments.models.architectures import MLP, Architecture, Conv
from vae_experiments.models.build import build_vae
from vae_experiments.models.likelihoods import Bernoulli
from vae_experiments.models.posteriors import DiagonalGaussian
from vae_experiments.models.priors import StandardNormal
from vae_experiments.models.vae import VAE


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
    ],
)
def test_reconstructs_exactly_the_inputs_shape(architecture: Architecture, shape: tuple[int, int, int]) -> None:
    vae = build(architecture, shape)
    x = torch.rand(3, *shape)
    output = vae(x, torch.randn(3, architecture.latent_dim))
    assert output.z.shape == (3, architecture.latent_dim)
    assert output.params.shape == x.shape
    assert vae.reconstruct(x).shape == x.shape


def test_weights_are_glorot_uniform_and_biases_zero() -> None:
    torch.manual_seed(0)
    vae = build(Conv(), (1, 28, 28))
    layer = vae.encoder[2]  # 32 -> 64, 3 x 3
    bound = (6 / (9 * 32 + 9 * 64)) ** 0.5
    assert bound * 0.99 < layer.weight.abs().max() <= bound
    assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    others = [p for name, p in vae.named_parameters() if name.endswith("bias") and "log_scale" not in name]
    assert all((p == 0).all() for p in others)


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
