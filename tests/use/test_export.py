"""Files for other programs: every kind of network, exact, and nothing half-made left behind."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from vae_experiments.errors import InputError
from vae_experiments.models.architectures import MLP, Conv
from vae_experiments.models.architectures.resnet import ResNet
from vae_experiments.models.build import build_vae
from vae_experiments.models.likelihoods import Bernoulli, ContinuousBernoulli, DiscretizedLogisticMixture
from vae_experiments.models.posteriors import DiagonalGaussian, InverseAutoregressive, VonMisesFisher
from vae_experiments.models.priors import StandardNormal, UniformSphere
from vae_experiments.models.vae import VAE
from vae_experiments.use.export import export


def make(kind: str) -> VAE:
    torch.manual_seed(0)
    mlp = MLP(latent_dim=3, hidden=[16])
    if kind == "resnet, mixture of logistics":
        architecture = ResNet(latent_dim=3, channels=[4, 8], dense=8)
        return build_vae(architecture, DiagonalGaussian, StandardNormal, DiscretizedLogisticMixture(), (3, 9, 11))
    if kind == "autoregressive posterior, continuous Bernoulli":
        return build_vae(mlp, InverseAutoregressive, StandardNormal, ContinuousBernoulli(), (1, 6, 5))
    return build_vae(mlp, VonMisesFisher, UniformSphere, Bernoulli(), (1, 6, 5))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    "kind", ["resnet, mixture of logistics", "autoregressive posterior, continuous Bernoulli", "sphere"]
)
def test_the_files_compute_what_the_model_does(kind: str, files: Path) -> None:
    vae = make(kind)
    written = list(export(vae, files, ["onnx", "pt2"], tolerance=1e-4, notes={"run": "mine"}))
    assert sorted(path.name for path in files.iterdir()) == sorted(file.path.name for file in written)
    assert all(0 <= file.difference <= 1e-5 for file in written)
    assert vae.training  # as it was
    assert all(parameter.requires_grad for parameter in vae.parameters())
    vae.eval()
    x, z = torch.rand(5, *vae.image_shape), vae.latents().sample(5, torch.Generator().manual_seed(1))
    for half, given in (("encoder", x), ("decoder", z)):
        with torch.no_grad():
            expected = (vae.encode(x).mean if half == "encoder" else vae.images(z)).numpy()
        session = onnxruntime.InferenceSession(files / f"{half}.onnx")
        (name,) = (node.name for node in session.get_inputs())
        np.testing.assert_allclose(session.run(None, {name: given.numpy()})[0], expected, atol=1e-5)
        program = torch.export.load(files / f"{half}.pt2").module()
        np.testing.assert_allclose(program(given).detach(), expected, atol=1e-5)
        notes = {item.key: item.value for item in onnx.load(files / f"{half}.onnx").metadata_props}
        assert notes["run"] == "mine"


def test_a_last_layer_that_trains_as_a_product_is_a_convolution_in_the_files(files: Path) -> None:
    vae = build_vae(Conv(), DiagonalGaussian, StandardNormal, Bernoulli(), (1, 28, 28))
    list(export(vae, files, ["onnx", "pt2"], tolerance=1e-4, notes={}))
    assert "aten.conv2d.default" in str(torch.export.load(files / "decoder.pt2").graph)
    nodes = [node.op_type for node in onnx.load(files / "decoder.onnx").graph.node]
    assert nodes.count("Conv") == 1
    assert len(nodes) < 20  # the product and its shifted sums would be dozens


class Branching(nn.Module):
    """What it computes hangs on the numbers it is given."""

    def forward(self, z: Tensor) -> Tensor:
        return z[:, None, :, None] if z.sum() > 0 else -z[:, None, :, None]


def test_a_network_that_no_graph_can_hold_is_refused_in_one_line(files: Path) -> None:
    vae = make("sphere")
    vae.decoder, vae.image_shape = Branching(), (1, 3, 1)
    vae.encoder = nn.Sequential(nn.Flatten(), nn.Linear(3, 16))
    with pytest.raises(InputError, match=r"^decoder: torch\.export does not take this network: .+$") as caught:
        list(export(vae, files, ["pt2"], tolerance=1e-4, notes={}))
    assert "\n" not in str(caught.value)
    assert [path.name for path in files.iterdir()] == ["encoder.pt2"]
