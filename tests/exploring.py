"""The explorer's page in a browser: models to make it of, and what it shows."""

from typing import Any

import numpy as np
import torch
from torch import nn

from vae_experiments.data.dataset import ImageDataset
from vae_experiments.data.prepare import ImageData
from vae_experiments.data.splits import Parts
from vae_experiments.figures.config import FiguresConfig
from vae_experiments.figures.explorer.content import explorer
from vae_experiments.figures.subject import Subject
from vae_experiments.models.architectures import Architecture
from vae_experiments.models.build import build_vae
from vae_experiments.models.likelihoods import Likelihood
from vae_experiments.models.posteriors import DiagonalGaussian, Posterior
from vae_experiments.models.priors import Prior, StandardNormal
from vae_experiments.models.vae import VAE

FEW = 200  # images
GREY, COLOUR = (1, 28, 28), (3, 13, 9)


def data_of(shape: tuple[int, int, int], names: tuple[str, ...] = ("a", "b", "c")) -> ImageData:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (FEW, *shape), dtype=np.uint8)
    labels = np.resize(np.arange(len(names)), FEW).astype(np.int64)
    order = rng.permutation(FEW)
    parts = Parts(order[:120], order[120:], order[:0])
    return ImageData(ImageDataset("tiny", images, labels, dict(enumerate(names))), parts, "none")


def vae_of(
    architecture: Architecture,
    likelihood: Likelihood,
    shape: tuple[int, int, int],
    posterior: type[Posterior] = DiagonalGaussian,
    prior: type[Prior] = StandardNormal,
) -> VAE:
    torch.manual_seed(0)
    vae = build_vae(architecture, posterior, prior, likelihood, shape)
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter += 0.3 * parameter.std(correction=0) * torch.randn_like(parameter)
        # As vivid as a trained model's pictures.
        last = [module for module in vae.decoder.modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]
        last.weight *= 2 / vae.decode(torch.randn(100, vae.latent_dim)).std()
    return vae.eval()


def levels_of(vae: VAE, z: list[list[float]]) -> np.ndarray[Any, Any]:
    """What PyTorch shows at latents, [N, H * W * shown channels]."""
    with torch.no_grad():
        levels = np.rint(vae.images(torch.tensor(z, dtype=torch.float32)).numpy() * 255)
    shown = levels if levels.shape[1] in (1, 3) else np.floor(levels.mean(1, keepdims=True))
    return shown.transpose(0, 2, 3, 1).reshape(len(z), -1)


def frame(page: Any) -> None:
    """Waits until what was set off has been drawn, and a whole interpolation with it."""
    page.evaluate(
        "new Promise(done => { let n = 0; const next = () => ++n > 40 ? done(true) : requestAnimationFrame(next); "
        "next(); })"
    )


def shown(page: Any, figure: int = 0, number: int = 0) -> list[int]:
    """The pixels of a model's decoded picture (0) or of its nearest training image (1), red, green, blue."""
    pixels: list[int] = page.evaluate(
        "([n, f]) => { const c = document.querySelectorAll('.pair')[n].querySelectorAll('canvas')[f];"
        "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        "return Array.from(d).filter((_, i) => i % 4 < 3) }",
        [number, figure],
    )
    return pixels


def here(page: Any, number: int = 0) -> list[float]:
    z: list[float] = page.evaluate(
        "n => Array.from(explorer.latent(explorer.models[n], explorer.state.peek ?? explorer.state.set))", number
    )
    return z


def at(page: Any, x: float, y: float, number: int = 0) -> tuple[float, float]:
    box = page.locator(".plane").nth(number).bounding_box()
    return box["x"] + box["width"] * x, box["y"] + box["height"] * y


def page_of(vae: VAE, data: ImageData, title: str = "a run") -> str:
    return explorer(Subject(vae, data, FiguresConfig()), title)
