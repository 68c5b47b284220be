import pytest
import torch
from torch import Tensor, nn

from vae_experiments.generation.layers import read_network
from vae_experiments.models.architectures import MLP, Conv
from vae_experiments.models.build import build_vae
from vae_experiments.models.likelihoods import Bernoulli
from vae_experiments.models.posteriors import (
    DiagonalGaussian,
    FullGaussian,
    InverseAutoregressive,
    VonMisesFisher,
)
from vae_experiments.models.priors import RealNVP, StandardNormal, UniformSphere


def test_the_seeds_network_is_read_with_its_shapes_and_parameters(make_vae):
    network = read_network(make_vae(shape=(1, 28, 28), architecture=Conv(latent_dim=2)))
    read = [(layer.kind, layer.output, layer.params, layer.activation) for layer in network.encoder]
    assert read[:6] == [
        ("Conv2d", (32, 28, 28), 320, "ReLU"),
        ("Conv2d", (64, 14, 14), 18_496, "ReLU"),
        ("Conv2d", (64, 14, 14), 36_928, "ReLU"),
        ("Conv2d", (64, 14, 14), 36_928, "ReLU"),
        ("Flatten", (12_544,), 0, ""),
        ("Linear", (32,), 401_440, "ReLU"),
    ]
    assert [network.encoder[head].name for head in network.heads] == ["posterior.mean", "posterior.log_scale"]
    assert [network.encoder[head].inputs for head in network.heads] == [[5], [5]]
    assert network.decoder[-1].output == (1, 28, 28)
    assert network.decoder_params == 56_385
    assert network.params == 550_629
    assert sum(layer.params for layer in network.encoder + network.decoder) == 550_629


def test_reading_leaves_no_hooks_and_no_change_of_mode(make_vae):
    vae = make_vae().train()
    read_network(vae)
    assert not any(module._forward_hooks for module in vae.modules())
    assert all(module.training for module in vae.modules())


class Skip(nn.Module):
    """A user's encoder: a sum that no layer makes, a layer used twice, an unusual parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(30, 16)
        self.twice = nn.Linear(16, 16)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x.flatten(1))
        return self.scale * (h + self.twice(self.twice(h)))


def test_a_layer_used_twice_has_its_parameters_once(make_vae):
    vae = make_vae()
    vae.encoder = nn.Sequential(nn.Flatten(), nn.Linear(30, 16), *[nn.Linear(16, 16)] * 2)
    counts = [layer.params for layer in read_network(vae).encoder]
    assert counts[:4] == [0, 496, 272, 0]
    assert read_network(vae).encoder_params == 496 + 272 + 2 * 34


def test_a_module_with_parameters_of_its_own_is_one_layer(make_vae):
    vae = make_vae()
    vae.encoder = Skip()
    network = read_network(vae)
    assert [layer.kind for layer in network.encoder] == ["Skip", "Linear", "Linear"]
    assert network.encoder[0].params == 30 * 16 + 16 + 16 * 16 + 16 + 1


@pytest.mark.parametrize(
    ("posterior", "prior", "heads"),
    [
        (DiagonalGaussian, StandardNormal, 2),
        (FullGaussian, RealNVP, 3),
        (InverseAutoregressive, StandardNormal, 2 + 4),
        (VonMisesFisher, UniformSphere, 2),
    ],
)
def test_the_layers_shown_hold_all_parameters(posterior, prior, heads):
    vae = build_vae(MLP(latent_dim=3, hidden=[16]), posterior, prior, Bernoulli(), (1, 6, 5))
    network = read_network(vae)
    shown = sum(layer.params for layer in network.encoder + network.decoder)
    assert shown + network.prior_params == network.params == sum(p.numel() for p in vae.parameters())
    assert len(network.heads) == heads
    features = {tuple(network.encoder[head].inputs) for head in network.heads}
    assert len(features) == 1  # all of them read the encoder's last layer


def test_a_step_of_a_flow_is_one_layer():
    vae = build_vae(MLP(latent_dim=3, hidden=[16]), InverseAutoregressive, StandardNormal, Bernoulli(), (1, 6, 5))
    steps = [layer for layer in read_network(vae).encoder if layer.kind == "AutoregressiveNet"]
    assert [step.name for step in steps] == [f"posterior.layers.{i}" for i in range(4)]
    # Context, first, second and last layer of 128 hidden units.
    assert {step.params for step in steps} == {(16 + 1) * 128 + 3 * 128 + (128 + 1) * 128 + (128 + 1) * 6}
