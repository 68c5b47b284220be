"""Each loss against an independent NumPy version."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vae_experiments.errors import InputError
from vae_experiments.models.architectures import MLP, Architecture, Conv, ResNet
from vae_experiments.models.build import build_vae
from vae_experiments.models.likelihoods import Bernoulli
from vae_experiments.models.posteriors import (
    DiagonalGaussian,
    FullGaussian,
    InverseAutoregressive,
    Posterior,
    VonMisesFisher,
)
from vae_experiments.models.priors import GaussianMixture, Prior, RealNVP, StandardNormal, UniformSphere, VampPrior
from vae_experiments.models.vae import VAE
from vae_experiments.objectives import (
    ELBO,
    IWAE,
    Capacity,
    LinearWarmup,
    Objective,
    Progress,
    SeedObjective,
    weight_in_nats,
)

BEGIN = Progress(step=0, steps_per_epoch=10, steps=20, images=60)


def small_vae(spread: str = "logvar", latent_dim: int = 3) -> VAE:
    torch.manual_seed(0)
    vae = build_vae(
        Conv(filters=[4, 4], strides=[1, 2], dense=8, latent_dim=latent_dim),
        lambda **later: DiagonalGaussian(**later, spread=spread, limit=None),  # type: ignore[arg-type]
        StandardNormal, Bernoulli(), (1, 8, 8),
    )  # fmt: skip
    return vae.double()


def numpy_parts(vae: VAE, x: torch.Tensor, noise: torch.Tensor) -> dict[str, np.ndarray]:
    """Head outputs and pixel probabilities, from the layers; everything after that is NumPy."""
    with torch.no_grad():
        features = vae.encoder(x)
        mu, s = vae.posterior.mean(features).float(), vae.posterior.log_scale(features).float()
        sigma = torch.exp(s if vae.posterior.spread == "log_sigma" else s / 2)
        logits = vae.decoder((mu + sigma * noise).double()).float()
    return {"mu": mu.numpy(), "s": s.numpy(), "p": 1 / (1 + np.exp(-logits.numpy()))}


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return torch.rand(6, 1, 8, 8, generator=generator).double(), torch.randn(6, 3, generator=generator).double()


def cross_entropy(x: torch.Tensor, p: np.ndarray) -> np.ndarray:
    grey = x.numpy()
    return -(grey * np.log(p) + (1 - grey) * np.log(1 - p))


@pytest.mark.parametrize("weight", [1.0, 0.0, 4.0])
def test_elbo(batch: tuple[torch.Tensor, torch.Tensor], weight: float) -> None:
    vae, (x, noise) = small_vae(), batch
    terms = ELBO(kl_weight=weight)(vae, x, noise, BEGIN)
    parts = numpy_parts(vae, x, noise)
    reconstruction = cross_entropy(x, parts["p"]).sum((1, 2, 3))
    kl = -0.5 * (1 + parts["s"] - parts["mu"] ** 2 - np.exp(parts["s"])).sum(1)
    np.testing.assert_allclose(terms.reconstruction.detach(), reconstruction, rtol=1e-5)
    np.testing.assert_allclose(terms.kl.detach(), kl, rtol=1e-4)
    np.testing.assert_allclose(terms.loss.detach(), reconstruction + weight * kl, rtol=1e-5)


def test_the_seeds_loss_slip_included(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    vae, (x, noise) = small_vae("log_sigma"), batch
    terms = SeedObjective()(vae, x, noise, BEGIN)
    parts = numpy_parts(vae, x, noise)
    # As the notebook writes it: z_log_sigma is exponentiated whole for z, and taken for a log variance in the KL.
    xent = cross_entropy(x, parts["p"]).mean((1, 2, 3))
    kl = -5e-4 * (1 + parts["s"] - parts["mu"] ** 2 - np.exp(parts["s"])).mean(-1)
    np.testing.assert_allclose(terms.loss.detach(), xent + kl, rtol=1e-5)
    # The bound is that of the model it really is: q = N(mu, exp(s)^2).
    true_kl = 0.5 * (parts["mu"] ** 2 + np.exp(2 * parts["s"]) - 1 - 2 * parts["s"]).sum(1)
    np.testing.assert_allclose(terms.kl.detach(), true_kl, rtol=1e-4)
    np.testing.assert_allclose(terms.reconstruction.detach(), 64 * xent, rtol=1e-5)


def test_the_seeds_loss_needs_the_seeds_posterior() -> None:
    with pytest.raises(InputError, match="log_sigma"):
        SeedObjective().check(small_vae("logvar"))


def test_the_seeds_weight_in_nats(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    assert weight_in_nats(5e-4, 784, 2) == pytest.approx(0.392)
    # Taken as an ordinary KL (s as log variance throughout), the two scales are the same loss.
    x, noise = batch
    parts = numpy_parts(small_vae(), x, noise)
    kl = -0.5 * (1 + parts["s"] - parts["mu"] ** 2 - np.exp(parts["s"]))
    written = 5e-4 * 2 * kl.mean(1)
    np.testing.assert_allclose(written * 64, weight_in_nats(5e-4, 64, 3) * kl.sum(1), rtol=1e-6)


def test_weights_follow_their_schedule(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    vae = small_vae()
    objective = ELBO(kl_weight=LinearWarmup(length=10, start=0.0, end=2.0))
    for step, weight in ((0, 0.0), (5, 1.0), (10, 2.0), (99, 2.0)):
        terms = objective(vae, *batch, replace(BEGIN, step=step))
        torch.testing.assert_close(terms.loss, terms.reconstruction + weight * terms.kl)


@pytest.mark.parametrize(
    ("architecture", "posterior", "prior"),
    [
        (Conv(latent_dim=3), DiagonalGaussian, StandardNormal),
        (ResNet(latent_dim=3), FullGaussian, GaussianMixture),
        (MLP(latent_dim=3), InverseAutoregressive, RealNVP),
        (MLP(latent_dim=3), InverseAutoregressive, VampPrior),
        (MLP(latent_dim=3), VonMisesFisher, UniformSphere),
    ],
)
@pytest.mark.parametrize("objective", [ELBO(), Capacity(), IWAE(), IWAE(estimator="dreg")])
def test_a_share_without_images_takes_part_in_the_update(
    objective: Objective, architecture: Architecture, posterior: type[Posterior], prior: type[Prior]
) -> None:
    """Of a last batch smaller than the number of processes: DistributedDataParallel waits for every gradient."""
    torch.manual_seed(0)
    vae = build_vae(architecture, posterior, prior, Bernoulli(), (1, 8, 8))
    x, noise = torch.rand(2, 1, 8, 8), objective.noise(vae, 2, torch.Generator().manual_seed(1))
    alone, whole = objective(vae, x[:0], noise[:0], BEGIN), objective(vae, x, noise, BEGIN)
    for name, term in alone.named().items():
        assert term.shape == (0,)
        assert whole.named()[name].shape == (2,)
    alone.loss.sum().backward()
    assert all(p.grad is not None and (p.grad == 0).all() for p in vae.parameters())
