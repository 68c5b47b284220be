"""A linear model with Gaussian pixels, whose evidence, posterior and gradients have closed forms, against ours."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from vae_experiments.evaluation.bound import bound
from vae_experiments.evaluation.examined import Examined
from vae_experiments.evaluation.importance import log_likelihood
from vae_experiments.models.likelihoods import Gaussian
from vae_experiments.models.posteriors import DiagonalGaussian
from vae_experiments.models.priors import StandardNormal
from vae_experiments.models.vae import VAE
from vae_experiments.objectives import ELBO, Progress

PIXELS, LATENTS, SIGMA = 6, 2, 0.05
SHAPE = (1, 2, 3)
PROGRESS = Progress(step=0, steps_per_epoch=1, steps=1, images=1)


class Logit(nn.Module):
    """What the likelihood's sigmoid undoes: of means in (0, 1) the model is linear in z."""

    def forward(self, mean: Tensor) -> Tensor:
        return torch.logit(mean.reshape(-1, *SHAPE), 1e-6)


@dataclass(frozen=True)
class Linear:
    """x ~ N(W z + b, SIGMA^2 I), z ~ N(0, I), in float64; W's columns are orthogonal, so that p(z | x) is diagonal."""

    weight: Tensor
    bias: Tensor

    @property
    def precision(self) -> Tensor:
        """Of p(z | x), [LATENTS], the same for every image."""
        return 1 + self.weight.square().sum(0) / SIGMA**2

    def images(self, n: int) -> np.ndarray:
        """Draws of x, as grey levels."""
        generator = torch.Generator().manual_seed(1)
        z = torch.randn(n, LATENTS, generator=generator, dtype=torch.float64)
        noise = torch.randn(n, PIXELS, generator=generator, dtype=torch.float64)
        x = z @ self.weight.T + self.bias + SIGMA * noise
        return (255 * x).round().clamp(0, 255).to(torch.uint8).reshape(n, *SHAPE).numpy()

    def log_evidence(self, x: Tensor) -> Tensor:
        covariance = self.weight @ self.weight.T + SIGMA**2 * torch.eye(PIXELS, dtype=torch.float64)
        return MultivariateNormal(self.bias, covariance).log_prob(x)

    def vae(self, shift: float = 0.0, widen: float = 0.0) -> VAE:
        """The model; its encoder is exact, but for a shift of the mean and a factor exp(widen) on the variance."""
        linear = nn.Linear(LATENTS, PIXELS)
        posterior = DiagonalGaussian(PIXELS, LATENTS, limit=None)
        to_mean = (self.weight / SIGMA**2 / self.precision).T
        with torch.no_grad():
            linear.weight.copy_(self.weight)
            linear.bias.copy_(self.bias)
            posterior.mean.weight.copy_(to_mean)
            posterior.mean.bias.copy_(shift - to_mean @ self.bias)
            posterior.log_scale.weight.zero_()
            posterior.log_scale.bias.copy_(widen - self.precision.log())
        return VAE(
            encoder=nn.Flatten(),
            posterior=posterior,
            prior=StandardNormal(LATENTS, SHAPE),
            decoder=nn.Sequential(linear, Logit()),
            likelihood=Gaussian(SIGMA),
            image_shape=SHAPE,
        )


def model() -> Linear:
    generator = torch.Generator().manual_seed(0)
    columns = torch.linalg.qr(torch.randn(PIXELS, LATENTS, generator=generator, dtype=torch.float64))[0]
    return Linear(columns * torch.tensor([0.12, 0.06]), 0.5 + 0.05 * torch.randn(PIXELS, generator=generator).double())


LINEAR = model()
N = 400


def examined(vae: VAE, n: int = N) -> tuple[Examined, Tensor]:
    """n images drawn from the model, and the log of their evidence."""
    images = LINEAR.images(n)
    flat = torch.from_numpy(images.reshape(n, -1)).double() / 255
    return Examined(vae, images, np.zeros(n, np.int64), seed=0), LINEAR.log_evidence(flat)


def divergence(shift: float, widen: float) -> float:
    """KL of the shifted and widened posterior from the exact one: what the bound lies below the evidence."""
    squares = shift**2 * LINEAR.precision
    return float(0.5 * (math.exp(widen) + squares - 1 - widen).sum())


@pytest.mark.parametrize(("shift", "widen"), [(0.0, 0.0), (0.3, 0.0), (0.0, 0.8), (-0.2, -1.0)])
def test_the_bound_lies_below_the_evidence_by_the_posteriors_divergence(shift: float, widen: float) -> None:
    of, evidence = examined(LINEAR.vae(shift, widen))
    gaps = evidence.numpy() - bound(of).elbo
    error = gaps.std() / math.sqrt(N)
    assert abs(gaps.mean() - divergence(shift, widen)) < 4 * error
    assert error < 0.1


def test_at_the_exact_posterior_every_importance_weight_is_the_evidence() -> None:
    of, evidence = examined(LINEAR.vae())
    found = log_likelihood(of, samples=3)
    np.testing.assert_allclose(found.values, evidence, atol=2e-4)
    assert found.draw_stderr < 1e-5


def test_importance_weighting_finds_the_evidence_within_the_error_it_states() -> None:
    of, evidence = examined(LINEAR.vae(0.2, 0.5))
    found = log_likelihood(of, samples=2000)
    misses = found.values - evidence.numpy()
    assert abs(misses.mean()) < 4 * found.draw_stderr
    assert found.draw_stderr < 0.005
    # Image by image the stated errors are those that are made, not too small and not too large.
    assert 0.8 < (misses / found.draw_errors).std() < 1.2
    assert found.stderr == pytest.approx(evidence.std().item() / math.sqrt(N), rel=0.01)


def test_the_bound_never_falls_as_latents_are_added() -> None:
    of, evidence = examined(LINEAR.vae(0.3, 0.8))
    # The draws of a larger number begin with those of a smaller one.
    means = [float(log_likelihood(of, samples).values.mean()) for samples in (1, 2, 5, 20, 60, 400)]
    assert means == sorted(means)
    gaps = [float(evidence.mean()) - mean for mean in means]
    assert gaps[0] > 0.5
    assert abs(gaps[-1]) < 0.01


def test_the_bounds_gradient_is_the_analytic_one() -> None:
    vae = LINEAR.vae(0.3, 0.4)
    x = torch.from_numpy(LINEAR.images(3)).float() / 255
    # The reconstruction is a square in the noise, which three Gauss-Hermite points in each dimension integrate exactly.
    nodes, shares = (torch.from_numpy(each).float() for each in np.polynomial.hermite_e.hermegauss(3))
    noise = torch.cartesian_prod(nodes, nodes)
    weights = torch.cartesian_prod(shares, shares).prod(1) / shares.sum() ** 2
    terms = ELBO()(vae, x.repeat_interleave(9, 0), noise.repeat(3, 1), PROGRESS)
    (terms.loss * weights.repeat(3)).sum().backward()
    found = {name: parameter.grad for name, parameter in vae.named_parameters()}

    exact = {name: parameter.detach().double().requires_grad_() for name, parameter in vae.named_parameters()}
    flat = x.double().flatten(1)
    mean = flat @ exact["posterior.mean.weight"].T + exact["posterior.mean.bias"]
    logvar = flat @ exact["posterior.log_scale.weight"].T + exact["posterior.log_scale.bias"]
    w, b = exact["decoder.0.weight"], exact["decoder.0.bias"]
    squares = (flat - mean @ w.T - b).square().sum(1) + (logvar.exp() @ w.square().T).sum(1)
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum(1)
    (squares / (2 * SIGMA**2) + kl).sum().backward()
    for name, parameter in exact.items():
        assert parameter.grad is not None
        scale = parameter.grad.abs().max()
        torch.testing.assert_close(found[name].double() / scale, parameter.grad / scale, rtol=0, atol=1e-3, msg=name)
