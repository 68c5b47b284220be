"""The two halves of a VAE as MLflow models that load, and serve, without this package."""

import copy
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow.pytorch
import numpy as np
import torch
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec
from mlflow.utils import environment
from torch import Tensor, nn

from vae_experiments.models.vae import VAE
from vae_experiments.yaml_text import parse_yaml


class PosteriorMean(nn.Module):
    """Images [N, C, H, W] in [0, 1] to their codes [N, latent_dim]."""

    def __init__(self, vae: VAE) -> None:
        super().__init__()
        self.encoder = vae.encoder
        self.posterior = vae.posterior

    def forward(self, x: Tensor) -> Tensor:
        mean: Tensor = self.posterior(self.encoder(x)).mean
        return mean


class ExpectedImages(nn.Module):
    """Latents [N, latent_dim] to images [N, C, H, W] in [0, 1]."""

    def __init__(self, vae: VAE) -> None:
        super().__init__()
        self.decoder = vae.decoder
        self.likelihood = vae.likelihood

    def forward(self, z: Tensor) -> Tensor:
        images: Tensor = self.likelihood.mean(self.decoder(z))
        return images


def halves(vae: VAE) -> dict[str, tuple[nn.Module, Tensor]]:
    """The encoder and the decoder, each with an example of its input, [2, ...]."""
    return {
        "encoder": (PosteriorMean(vae), torch.zeros(2, *vae.image_shape)),
        "decoder": (ExpectedImages(vae), torch.zeros(2, vae.latent_dim)),
    }


def weights_digest(module: nn.Module) -> str:
    """SHA-256 of a module's parameters and buffers, as 64 hex digits."""
    sha = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        plain = tensor.detach().to("cpu", copy=False).contiguous()
        sha.update(repr((name, str(plain.dtype), tuple(plain.shape))).encode())
        sha.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def freeze(module: nn.Module) -> nn.Module:
    """A copy to be exported: on the CPU, in float32, in eval mode, without gradients."""
    frozen = copy.deepcopy(module).cpu().float().eval().requires_grad_(False)
    for parameter in frozen.parameters():  # channels_last would be frozen into the graph as strides
        parameter.data = parameter.data.contiguous()
    return frozen


def save_model(module: nn.Module, example: Tensor, folder: Path) -> None:
    """Writes `module` (one float32 tensor in, one out, both [N, ...]) as an MLflow model.

    An exported graph (pt2): it holds no code of ours and no pickle, takes any N, and loads wherever
    PyTorch is. `module` itself, its device, layout and mode are left as they are.

    Args:
        module: what to save.
        example: an input [2, ...]; a batch of 1 would be frozen into the graph.
        folder: replaced if it exists.
    """
    frozen = freeze(module)
    example = example.detach().to(device="cpu", dtype=torch.float32)
    shutil.rmtree(folder, ignore_errors=True)
    with torch.no_grad(), _unchecked_requirements():  # inference's layers into the graph, not training's
        output = frozen(example)
        mlflow.pytorch.save_model(
            frozen,
            str(folder),
            signature=ModelSignature(inputs=_schema(example), outputs=_schema(output)),
            input_example=example.numpy(),
            pip_requirements=[f"mlflow=={mlflow.__version__}", f"torch=={torch.__version__.partition('+')[0]}"],
            serialization_format="pt2",
        )


@contextmanager
def _unchecked_requirements() -> Iterator[None]:
    """Keeps MLflow from comparing the requirements with what is installed: they name the very versions that run here.

    For that it would read the list of files of every installed package, a third of the time that saving takes.
    """
    name = "warn_dependency_requirement_mismatches"
    check = getattr(environment, name, None)
    if check is None:
        yield
        return
    setattr(environment, name, lambda *_, **__: None)
    try:
        yield
    finally:
        setattr(environment, name, check)


def address_model(folder: Path, *, run_id: str, model_id: str, location: str) -> None:
    """Notes in a saved model which logged model, of which run, it is."""
    # Not Model.load, which takes a path for an address and stumbles over a "#" in it.
    path = folder / "MLmodel"
    model = Model.from_dict(parse_yaml(path.read_text(encoding="utf-8")))
    model.run_id, model.model_id, model.model_uuid, model.artifact_path = run_id, model_id, model_id, location
    model.save(str(path))


def _schema(batch: Tensor) -> Schema:
    # Without a name: a named tensor would have to be passed, and served, as a dictionary.
    return Schema([TensorSpec(np.dtype(np.float32), (-1, *batch.shape[1:]))])
