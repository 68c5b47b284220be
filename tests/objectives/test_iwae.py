"""The importance-weighted bound and both of its gradients, on a model whose evidence is known."""

import math
from typing import Any, Literal

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from vae_experiments.models.architectures import MLP
from vae_experiments.models.build import build_vae
from vae_experiments.models.likelihoods import Bernoulli
from vae_experiments.models.posteriors import FullGaussian, Posterior, VonMisesFisher
from vae_experiments.models.priors import GaussianMixture, Prior, StandardNormal, UniformSphere
from vae_experiments.models.vae import VAE
from vae_experiments.objectives import ELBO, IWAE, Progress

BEGIN = Progress(step=0, steps_per_epoch=10, steps=20, images=60)
LATENTS, SIGMA = 2, 0.6

Estimator = Literal["iwae", "dreg"]
ESTIMATORS: list[Estimator] = ["iwae", "dreg"]


def off_posterior(linear_gaussian: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """Posteriors that are neither right nor hopeless."""
    loc, logvar = linear_gaussian.true_posterior(x)
    return loc + 0.3, logvar + 0.5


def draw(objective: IWAE, vae: VAE, n: int, seed: int = 1) -> Tensor:
    return objective.noise(vae, n, torch.Generator().manual_seed(seed)).double()


def bound_of(vae: VAE, x: Tensor, noise: Tensor, *, p_of_z: Any = None) -> Tensor:
    """log mean_k w_k, [B], by torch.distributions; noise [B, k, LATENTS]."""
    loc, logvar, linear = vae.posterior.loc, vae.posterior.logvar, vae.decoder[0]
    q = Independent(Normal(loc, torch.exp(logvar / 2)), 1)
    log_w = []
    for eps in noise.unbind(1):
        z = loc + torch.exp(logvar / 2) * eps
        p_of_x = Independent(Normal(z @ linear.weight.T + linear.bias, SIGMA), 1)
        p = Independent(Normal(torch.zeros_like(z), torch.ones_like(z)), 1)
        log_w.append(p_of_x.log_prob(x.flatten(1)) + p.log_prob(z) - q.log_prob(z))
    return torch.stack(log_w).exp().mean(0).log()


def gradients(objective: IWAE, vae: VAE, x: Tensor, noise: Tensor) -> dict[str, Tensor]:
    vae.zero_grad()
    objective(vae, x, noise, BEGIN).loss.sum().backward()
    return {name: p.grad.clone() for name, p in vae.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_bound_and_its_parts(linear_gaussian: Any, estimator: Estimator) -> None:
    vae = linear_gaussian.vae(*off_posterior(linear_gaussian, linear_gaussian.x))
    objective = IWAE(samples=7, estimator=estimator)
    noise = draw(objective, vae, 5)
    assert noise.shape == (5, 7, LATENTS)
    terms = objective(vae, linear_gaussian.x, noise, BEGIN)
    torch.testing.assert_close(terms.others["iw_bound"], bound_of(vae, linear_gaussian.x, noise))
    torch.testing.assert_close(terms.loss, -terms.others["iw_bound"])
    each = [ELBO()(vae, linear_gaussian.x, noise[:, k], BEGIN) for k in range(7)]
    torch.testing.assert_close(terms.reconstruction, torch.stack([one.reconstruction for one in each]).mean(0))
    torch.testing.assert_close(terms.kl, each[0].kl)


def test_the_bound_rises_with_k_up_to_the_evidence(linear_gaussian: Any) -> None:
    x = linear_gaussian.x[:1].expand(20_000, -1, -1, -1)  # every draw an image of its own
    vae = linear_gaussian.vae(*off_posterior(linear_gaussian, x))
    means, errors = [], []
    for k in (1, 2, 5, 20, 100):
        objective = IWAE(samples=k)
        with torch.no_grad():
            bounds = objective(vae, x, draw(objective, vae, len(x), seed=k), BEGIN).others["iw_bound"]
        means.append(bounds.mean().item())
        errors.append(bounds.std().item() / math.sqrt(len(x)))
    evidence = linear_gaussian.log_evidence(x[:1]).item()
    elbo = ELBO()(vae, x, draw(IWAE(samples=1), vae, len(x))[:, 0], BEGIN).loss
    assert means[0] == pytest.approx(-elbo.mean().item(), abs=6 * errors[0])
    for (low, error), high in zip(zip(means, errors, strict=True), [*means[1:], evidence], strict=True):
        assert high - low > 5 * error
    assert means[-1] == pytest.approx(evidence, abs=0.01)


def test_the_gradient_is_the_bounds_own(linear_gaussian: Any) -> None:
    x = linear_gaussian.x
    vae = linear_gaussian.vae(*off_posterior(linear_gaussian, x))
    objective = IWAE(samples=4)
    noise = draw(objective, vae, 5)
    found = gradients(objective, vae, x, noise)
    parameters = dict(vae.named_parameters())
    expected = torch.autograd.grad(-bound_of(vae, x, noise).sum(), list(parameters.values()))
    assert set(found) == set(parameters)
    torch.testing.assert_close(list(found.values()), list(expected))
    step = 1e-6
    for name, parameter in parameters.items():
        first = (0,) * parameter.ndim
        with torch.no_grad():
            sides = []
            for change in (step, -2 * step):
                parameter[first] += change
                sides.append(objective(vae, x, noise, BEGIN).loss.sum().item())
            parameter[first] += step
        assert found[name][first].item() == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=1e-5)


def test_doubly_reparametrised_is_the_published_estimator(linear_gaussian: Any) -> None:
    x = linear_gaussian.x
    vae = linear_gaussian.vae(*off_posterior(linear_gaussian, x))
    objective = IWAE(samples=4, estimator="dreg")
    noise = draw(objective, vae, 5)
    found = gradients(objective, vae, x, noise)
    # Tucker et al. 2019, equation 8: sum_k (w_k / sum_l w_l)^2 (d log w_k / d z_k) (d z_k / d phi).
    loc, logvar = vae.posterior.loc, vae.posterior.logvar
    log_w = torch.stack([bound_of(vae, x, noise[:, k : k + 1]) for k in range(4)]).detach()
    shares = torch.softmax(log_w, 0)
    expected = torch.zeros(2, 5, LATENTS, dtype=torch.float64)
    for k in range(4):
        z = (loc + torch.exp(logvar / 2) * noise[:, k]).detach()
        to_x = (x.flatten(1) - vae.decoder[0](z)) @ vae.decoder[0].weight / SIGMA**2
        slope = to_x - z + (z - loc) * torch.exp(-logvar)
        expected[0] -= shares[k, :, None] ** 2 * slope
        expected[1] -= shares[k, :, None] ** 2 * slope * 0.5 * torch.exp(logvar / 2) * noise[:, k]
    torch.testing.assert_close(found["posterior.loc"], expected[0].detach())
    torch.testing.assert_close(found["posterior.logvar"], expected[1].detach())


def test_doubly_reparametrised_leaves_decoder_and_prior_their_gradient(linear_gaussian: Any) -> None:
    x = linear_gaussian.x
    torch.manual_seed(0)
    prior = GaussianMixture(LATENTS, (1, 1, 4), components=3)
    vae = linear_gaussian.vae(*off_posterior(linear_gaussian, x), prior=prior)
    noise = draw(IWAE(samples=4), vae, 5)
    plain, dreg = (gradients(IWAE(samples=4, estimator=e), vae, x, noise) for e in ESTIMATORS)
    for name in ("decoder.0.weight", "decoder.0.bias", "prior.loc", "prior.logvar", "prior.logits"):
        torch.testing.assert_close(plain[name], dreg[name])
        assert plain[name].abs().max() > 1e-6
    assert not torch.allclose(plain["posterior.loc"], dreg["posterior.loc"])


@pytest.mark.parametrize("k", [1, 2, 8])
def test_doubly_reparametrised_is_right_on_average_and_less_noisy(linear_gaussian: Any, k: int) -> None:
    n = 100_000
    x = linear_gaussian.x[1:2].expand(n, -1, -1, -1)
    vae = linear_gaussian.vae(*off_posterior(linear_gaussian, x))
    draws = {}
    for seed, estimator in enumerate(ESTIMATORS):
        objective = IWAE(samples=k, estimator=estimator)
        found = gradients(objective, vae, x, draw(objective, vae, n, seed))
        draws[estimator] = torch.cat([found["posterior.loc"], found["posterior.logvar"]], 1)  # one row per draw
    apart = draws["iwae"].mean(0) - draws["dreg"].mean(0)
    error = ((draws["iwae"].var(0) + draws["dreg"].var(0)) / n).sqrt()
    assert (apart.abs() < 5 * error).all()
    assert (draws["iwae"].mean(0).abs() > 20 * error).any()  # there is a gradient to agree on
    assert draws["dreg"].var(0).sum() < draws["iwae"].var(0).sum()


def test_at_the_true_posterior_every_draw_is_exact_and_the_encoder_is_left_alone(linear_gaussian: Any) -> None:
    x = linear_gaussian.x
    vae = linear_gaussian.vae(*linear_gaussian.true_posterior(x))
    objective = IWAE(samples=3, estimator="dreg")
    noise = draw(objective, vae, 5)
    torch.testing.assert_close(
        objective(vae, x, noise, BEGIN).others["iw_bound"].detach(), linear_gaussian.log_evidence(x)
    )
    dreg, plain = gradients(objective, vae, x, noise), gradients(IWAE(samples=3), vae, x, noise)
    for name in ("posterior.loc", "posterior.logvar"):
        torch.testing.assert_close(dreg[name], torch.zeros_like(dreg[name]), atol=1e-12, rtol=0)
        assert plain[name].abs().max() > 1e-3


@pytest.mark.parametrize(("posterior", "prior"), [(FullGaussian, StandardNormal), (VonMisesFisher, UniformSphere)])
def test_both_gradients_agree_for_other_posteriors(posterior: type[Posterior], prior: type[Prior]) -> None:
    torch.manual_seed(1)
    vae = build_vae(MLP(hidden=[8], latent_dim=3), posterior, prior, Bernoulli(), (1, 4, 4))
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    x = torch.rand(1, 1, 4, 4).round().expand(1000, -1, -1, -1)
    means, variances = [], []
    for seed, estimator in enumerate(ESTIMATORS):
        objective, generator = IWAE(samples=3, estimator=estimator), torch.Generator().manual_seed(seed)
        found = [gradients(objective, vae, x, objective.noise(vae, len(x), generator)) for _ in range(30)]
        rows = torch.stack([torch.cat([g[n].flatten() for n in sorted(g) if n.startswith("posterior")]) for g in found])
        means.append(rows.mean(0))
        variances.append(rows.var(0) / len(rows))
    error = (variances[0] + variances[1]).sqrt()
    seen = error > 1e-6 * means[0].abs().max()  # a ReLU that is off says nothing
    assert seen.sum() >= 6
    assert ((means[0] - means[1]).abs() < 6 * error)[seen].all()
    assert (means[0].abs() > 20 * error)[seen].any()
