"""A decoder of digits, briefly trained, against the integral over a fine grid of its two latents."""

import copy

import numpy as np
import pytest
import torch
from torch.nn.functional import softplus

from vae_experiments.data.prepare import ImageData, prepare
from vae_experiments.data.sources.mnist5k import MNIST5K
from vae_experiments.data.splits import Fractions
from vae_experiments.evaluation.bound import bound
from vae_experiments.evaluation.examined import Examined
from vae_experiments.evaluation.importance import log_likelihood
from vae_experiments.models.architectures import MLP
from vae_experiments.models.build import build_vae
from vae_experiments.models.likelihoods import Bernoulli
from vae_experiments.models.posteriors import DiagonalGaussian
from vae_experiments.models.priors import StandardNormal
from vae_experiments.models.vae import VAE
from vae_experiments.objectives import ELBO, Progress


def trained(data: ImageData) -> VAE:
    """400 steps of the bound."""
    torch.manual_seed(0)
    vae = build_vae(MLP(latent_dim=2, hidden=[64]), DiagonalGaussian, StandardNormal, Bernoulli(), (1, 28, 28))
    optimizer = torch.optim.Adam(vae.parameters(), 3e-3)
    rng = np.random.default_rng(0)
    for step in range(400):
        x = torch.from_numpy(data.images(rng.choice(data.parts.train, 50), 0)).float() / 255
        loss = ELBO()(vae, x, torch.randn(50, 2), Progress(step, 1, 400, 50)).loss.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return vae.eval()


@torch.no_grad()
def by_integration(vae: VAE, images: np.ndarray, reach: float = 5.0, step: float = 0.04) -> np.ndarray:
    """log of the integral of p(x | z) p(z) over a square, by a sum over a grid; float64, [N]."""
    line = torch.arange(-reach, reach + step / 2, step)
    x = torch.from_numpy(images.reshape(len(images), -1)).double() / 255
    total = torch.full((len(x),), -torch.inf, dtype=torch.float64)
    for z in torch.cartesian_prod(line, line).split(20_000):
        logits = vae.decoder(z).flatten(1)
        log_joint = (logits @ x.float().T).double() - softplus(logits).sum(1).double()[:, None]
        log_joint += -0.5 * z.double().square().sum(1, keepdim=True) - np.log(2 * np.pi)
        total = torch.logaddexp(total, torch.logsumexp(log_joint, 0))
    return (total + 2 * np.log(step)).numpy()


@pytest.fixture(scope="module")
def digits() -> tuple[VAE, np.ndarray, np.ndarray]:
    """A model, images it has not seen, and the log-likelihood of each."""
    data = prepare(MNIST5K(split=Fractions(), binarization="threshold"), 0)
    vae = trained(data)
    images = data.images(data.parts.test[:25], 0)
    return vae, images, by_integration(vae, images)


def test_importance_weighting_finds_what_integration_finds(digits: tuple[VAE, np.ndarray, np.ndarray]) -> None:
    vae, images, exact = digits
    assert -260 < exact.mean() < -100  # a model that has learnt something
    wide = copy.deepcopy(vae)
    with torch.no_grad():
        # Any proposal will do; one this wide misses no mode of p(z | x), as the narrow posterior of so small an
        # encoder does for one image in five.
        wide.posterior.log_scale.bias += 4
    examined = Examined(wide, images, np.zeros(len(images), np.int64), seed=0)
    found = log_likelihood(examined, samples=10_000)
    assert found.draw_stderr < 0.02
    assert abs(found.values.mean() - exact.mean()) < 4 * found.draw_stderr
    assert (np.abs(found.values - exact) < 4 * found.draw_errors + 0.002).mean() > 0.95


def test_with_few_latents_it_lies_below(digits: tuple[VAE, np.ndarray, np.ndarray]) -> None:
    vae, images, exact = digits
    examined = Examined(vae, images, np.zeros(len(images), np.int64), seed=0)
    elbo = bound(examined).elbo.mean()
    found = [float(log_likelihood(examined, samples).values.mean()) for samples in (1, 10, 100, 1000)]
    assert found == sorted(found)
    assert elbo < found[1] < exact.mean()
    assert abs(found[0] - elbo) < 3
    assert exact.mean() - found[-1] < 2
