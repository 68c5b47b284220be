import torch
from torch import Tensor, nn

from vae_experiments.generation.layers import read_network
from vae_experiments.models.architectures import Conv


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
