"""Von Mises-Fisher against scipy, its draws against their moments, its gradients against closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats
from torch import Tensor
from torch.nn.functional import normalize

from vae_experiments.errors import InputError
from vae_experiments.models.architectures import MLP
from vae_experiments.models.build import build_vae
from vae_experiments.models.likelihoods import Bernoulli
from vae_experiments.models.posteriors import VMF, DiagonalGaussian, VonMisesFisher
from vae_experiments.models.posteriors.von_mises_fisher import TRIES
from vae_experiments.models.priors import StandardNormal, UniformSphere
from vae_experiments.models.sphere import log_area, log_normalizer

DIMS = [2, 3, 5, 8, 33, 64, 130]
KAPPAS = [1e-3, 0.1, 1.0, 7.0, 50.0, 600.0, 1e4]


def modes(n: int, dims: int, seed: int = 1) -> Tensor:
    return normalize(torch.randn(n, dims, generator=torch.Generator().manual_seed(seed)), dim=-1)


def noise(dims: int, *shape: int, seed: int = 2) -> Tensor:
    flat = VonMisesFisher(1, dims).noise(math.prod(shape), torch.Generator().manual_seed(seed))
    return flat.reshape(*shape, -1)


def mean_length(kappa: float, dims: int) -> float:
    """A(kappa), by scipy's exponentially scaled Bessel functions."""
    return float(special.ive(dims / 2, kappa) / special.ive(dims / 2 - 1, kappa))


@pytest.mark.parametrize("dims", DIMS)
def test_the_normalizer_is_scipys_bessel_function(dims: int) -> None:
    kappa, v = np.array(KAPPAS), dims / 2 - 1
    log_z, mean = log_normalizer(torch.tensor(KAPPAS, dtype=torch.float64), dims)
    with np.errstate(divide="ignore"):
        expected = special.gammaln(v + 1) + v * np.log(2 / kappa) + np.log(special.ive(v, kappa)) + kappa
    fine = special.ive(v, kappa) > 1e-250  # below, scipy underflows
    np.testing.assert_allclose(log_z[fine], expected[fine], rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(mean[fine], (special.ive(v + 1, kappa) / special.ive(v, kappa))[fine], rtol=1e-8)
    assert fine.sum() >= 4


@pytest.mark.parametrize("dims", DIMS)
@pytest.mark.parametrize("kappa", KAPPAS)
def test_the_normalizer_is_an_integral_over_the_angle(dims: int, kappa: float) -> None:
    """E[exp(kappa (cos t - 1))] under sin(t)^(dims - 2), where scipy's Bessel functions give out too."""
    beta = special.beta((dims - 1) / 2, 0.5)
    log_z, _ = log_normalizer(torch.tensor(kappa, dtype=torch.float64), dims)

    def integrand(t: float) -> float:
        return math.exp(-2 * kappa * math.sin(t / 2) ** 2 - log_z.item() + kappa) * math.sin(t) ** (dims - 2) / beta

    peak = math.acos(2 * kappa / (dims - 2 + math.hypot(dims - 2, 2 * kappa)))
    cuts = [t for t in (peak - 10 / math.sqrt(kappa), peak, peak + 10 / math.sqrt(kappa)) if 0 < t < math.pi]
    value, _ = integrate.quad(integrand, 0, math.pi, points=cuts, limit=200, epsabs=1e-10, epsrel=1e-10)
    assert value == pytest.approx(1, abs=2e-8 + 1e-7 * log_z.item() * (kappa < 1))


@pytest.mark.parametrize("dims", DIMS)
@pytest.mark.parametrize("kappa", KAPPAS)
def test_the_normalizers_gradients_are_exact(dims: int, kappa: float) -> None:
    k = torch.tensor([kappa], dtype=torch.float64, requires_grad=True)
    log_z, mean = log_normalizer(k, dims)
    (by_log_z,) = torch.autograd.grad(log_z.sum(), k, retain_graph=True)
    (by_mean,) = torch.autograd.grad(mean.sum(), k)
    torch.testing.assert_close(by_log_z, mean)
    step = 1e-2 * kappa  # fourth-order differences: the values have nine digits
    at = [log_normalizer(torch.tensor([kappa + i * step], dtype=torch.float64), dims)[1] for i in (-2, -1, 1, 2)]
    numeric = (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * step)
    torch.testing.assert_close(by_mean, numeric, rtol=1e-5, atol=0)


@pytest.mark.parametrize("dims", [2, 3, 7, 20])
@pytest.mark.parametrize("kappa", [0.3, 5.0, 300.0])
def test_density_and_entropy_are_scipys(dims: int, kappa: float) -> None:
    loc = modes(3, dims)
    q = VMF(loc, torch.full((3,), kappa))
    z = q.rsample(noise(dims, 6, 3))
    for image in range(3):
        mu = loc[image].double().numpy()
        expected = stats.vonmises_fisher(mu / np.linalg.norm(mu), kappa)
        points = z[:, image].double()
        points = points / points.norm(dim=-1, keepdim=True)
        np.testing.assert_allclose(q.log_prob(z)[:, image], expected.logpdf(points.numpy()), rtol=1e-4, atol=2e-4)
        assert log_area(dims) - q.kl_to_uniform()[image].item() == pytest.approx(expected.entropy(), abs=1e-4)


@pytest.mark.parametrize("dims", [2, 3, 10, 40])
@pytest.mark.parametrize("kappa", [0.5, 20.0, 2000.0])
def test_kl_is_what_monte_carlo_gives(dims: int, kappa: float) -> None:
    q, prior = VMF(modes(2, dims), torch.full((2,), kappa)), UniformSphere(dims, (1, 1, 1))
    p = prior(lambda x: q)
    z, log_q = q.draw(noise(dims, 20_000, 2))
    draws = (log_q - p.log_prob(z)).double()
    exact = p.kl(q)
    assert exact is not None
    error = draws.std(0) / math.sqrt(len(draws))
    assert ((draws.mean(0) - exact).abs() < 5 * error + 1e-5).all()


def test_kl_is_zero_at_no_concentration_and_grows_with_it() -> None:
    kappa = torch.logspace(-4, 4, 60)
    for dims in (2, 3, 64):
        kl = VMF(modes(60, dims), kappa).kl_to_uniform()
        assert kl[0].abs() < 1e-7
        assert (kl.diff() > 0).all()


@pytest.mark.parametrize("dims", [2, 3, 4, 10, 64])
@pytest.mark.parametrize("kappa", [1e-3, 1.0, 30.0, 8000.0])
def test_draws_have_the_distributions_moments(dims: int, kappa: float) -> None:
    n, loc = 20_000, modes(2, dims)
    z = VMF(loc, torch.full((2,), kappa)).rsample(noise(dims, n, 2)).double()
    torch.testing.assert_close(z.norm(dim=-1), torch.ones(n, 2, dtype=torch.float64), rtol=1e-6, atol=0)
    length = mean_length(kappa, dims)
    for image in range(2):
        along = 1 - 0.5 * (z[:, image] - loc[image]).square().sum(-1)
        variance = 1 - length**2 - (dims - 1) / kappa * length
        assert abs(along.mean() - length) < 5 * along.std() / math.sqrt(n)
        assert along.var().item() == pytest.approx(variance, rel=0.12)
        across = z[:, image] - along[:, None] * loc[image]
        expected = (1 - along.square().mean()) / (dims - 1) * (torch.eye(dims) - loc[image] * loc[image][:, None])
        scale = across.square().sum(-1).mean()
        assert (across.T @ across / n - expected).abs().max() < 6 * scale / math.sqrt(n)


@pytest.mark.parametrize("dims", [2, 3, 12])
def test_angles_follow_the_density(dims: int) -> None:
    """Kolmogorov-Smirnov against the distribution function by quadrature."""
    q = VMF(modes(1, dims), torch.tensor([4.0]))
    angles = torch.acos((q.rsample(noise(dims, 5_000, 1)) * q.loc).sum(-1).clamp(-1, 1))[:, 0].double().numpy()
    grid = np.linspace(0, math.pi, 20_001)
    density = np.exp(4 * (np.cos(grid) - 1)) * np.sin(grid) ** (dims - 2)
    cdf = integrate.cumulative_trapezoid(density, grid, initial=0)
    assert stats.kstest(angles, lambda t: np.interp(t, grid, cdf / cdf[-1])).pvalue > 1e-3


@pytest.mark.parametrize("dims", [2, 3, 9])
@pytest.mark.parametrize("kappa", [0.5, 10.0, 500.0])
def test_gradients_of_expectations_are_unbiased(dims: int, kappa: float) -> None:
    """Of E[a . z] = A(kappa) a . loc and of E[(a . z)^2], in the concentration and in the mode."""
    a = torch.arange(1, dims + 1, dtype=torch.float64) / dims
    direction, n = modes(1, dims, seed=3).double(), 40_000
    k = torch.full((n,), kappa, dtype=torch.float64, requires_grad=True)
    raw = direction.repeat(n, 1).requires_grad_()
    z = VMF(normalize(raw, dim=-1), k).rsample(noise(dims, n).double())
    exact_k = torch.tensor(kappa, dtype=torch.float64, requires_grad=True)
    exact_raw = direction[0].clone().requires_grad_()
    length = log_normalizer(exact_k, dims)[1]
    mu = normalize(exact_raw, dim=-1)
    # E[z z'] = A / kappa I + (1 - dims A / kappa) mu mu'
    second = length / exact_k * a.square().sum() + (1 - dims * length / exact_k) * (a @ mu).square()
    for draws, exact in (((z @ a), length * (a @ mu)), ((z @ a).square(), second)):
        by_k, by_raw = torch.autograd.grad(draws.sum(), (k, raw), retain_graph=True)
        exact_by_k, exact_by_raw = torch.autograd.grad(exact, (exact_k, exact_raw), retain_graph=True)
        assert abs(by_k.mean() - exact_by_k) < 5 * by_k.std() / math.sqrt(n)
        assert ((by_raw.mean(0) - exact_by_raw).abs() < 5 * by_raw.std(0) / math.sqrt(n) + 1e-12).all()


@pytest.mark.parametrize(("dims", "kappa"), [(2, 0.01), (2, 40.0), (3, 3.0), (3, 9000.0), (30, 0.5), (30, 200.0)])
def test_an_angle_moves_along_its_quantile(dims: int, kappa: float) -> None:
    k = torch.full((50,), kappa, dtype=torch.float64, requires_grad=True)
    q = VMF(modes(1, dims).double().expand(50, -1), k)
    cosine = 1 - 0.5 * (q.rsample(noise(dims, 50).double()) - q.loc).square().sum(-1)
    (slope,) = torch.autograd.grad(cosine.sum(), k)
    angles = torch.acos(cosine.detach()).numpy()
    peak = math.acos(2 * kappa / (dims - 2 + math.hypot(dims - 2, 2 * kappa)))

    def share(angle: float, at: float) -> float:
        def density(t: float) -> float:
            return math.exp(2 * at * (math.sin(peak / 2) ** 2 - math.sin(t / 2) ** 2)) * (
                (math.sin(t) / max(math.sin(peak), 1e-300)) ** (dims - 2) if dims > 2 else 1.0
            )

        wide = min(math.pi, peak + 15 / math.sqrt(at))
        low, high = (
            integrate.quad(density, *ends, epsabs=0, epsrel=1e-12, limit=200)[0] for ends in ((0, angle), (angle, wide))
        )
        return low / (low + high)

    for angle, got in zip(angles[:8].tolist(), slope[:8].tolist(), strict=True):
        step = 1e-4 * kappa
        by_kappa = (share(angle, kappa + step) - share(angle, kappa - step)) / (2 * step)
        by_angle = (share(angle * (1 + 1e-5), kappa) - share(angle * (1 - 1e-5), kappa)) / (2e-5 * angle)
        assert got == pytest.approx(math.sin(angle) * by_kappa / by_angle, rel=2e-4)


def test_a_draws_log_q_is_that_of_the_latent() -> None:
    for dims in (2, 3, 40):
        q = VMF(modes(4, dims), torch.tensor([0.01, 1.0, 100.0, 8000.0]))
        z, log_q = q.draw(noise(dims, 50, 4))
        assert torch.equal(z, q.rsample(noise(dims, 50, 4)))
        torch.testing.assert_close(log_q, q.log_prob(z), rtol=1e-3, atol=5e-3)
        foreign = z[:, 0]
        apart = torch.stack([q[i : i + 1].log_prob(foreign[:, None])[:, 0] for i in range(4)], 1)
        torch.testing.assert_close(q.log_prob(foreign[:, None]), apart)


def test_modes_next_to_either_end_of_the_first_axis_are_drawn_around() -> None:
    for side in (1.0, -1.0):
        loc = normalize(torch.tensor([[side, 1e-4, -1e-4], [side, 0.0, 0.0]]), dim=-1).requires_grad_()
        z = VMF(loc, torch.full((2,), 1000.0)).rsample(noise(3, 500, 2))
        assert (z * loc).sum(-1).min() > 0.97
        (grad,) = torch.autograd.grad(z.sum(), loc)
        assert grad.abs().max() < 2_000  # a few for each of the 500 latents


def test_noise_is_of_the_images_and_of_nothing_else() -> None:
    posterior = VonMisesFisher(6, 4)
    drawn = posterior.noise(7, torch.Generator().manual_seed(5))
    q = VMF(modes(7, 4), torch.linspace(1, 50, 7))
    together = q.rsample(drawn)
    torch.testing.assert_close(torch.cat([q[i : i + 1].rsample(drawn[i : i + 1]) for i in range(7)]), together)


def test_any_head_gives_a_finite_bound_and_gradient() -> None:
    posterior = VonMisesFisher(4, 3)
    for scale in (0.0, 1.0, 1e6):
        for sign in (1.0, -1.0):
            torch.nn.init.constant_(posterior.log_kappa.weight, sign)
            features = scale * torch.rand(20, 4, generator=torch.Generator().manual_seed(6))
            q = posterior(features)
            z, log_q = q.draw(noise(3, 20))
            assert (q.kappa > 0).all()
            torch.testing.assert_close(z.norm(dim=-1), torch.ones(20))
            posterior.zero_grad()
            (q.kl_to_uniform() + log_q + z.sum(-1)).sum().backward()
            assert all(p.grad is not None and p.grad.isfinite().all() for p in posterior.parameters())


@pytest.mark.parametrize("dims", [2, 3, 10])
@pytest.mark.parametrize("kappa", [2e-4, 1.0, 38.0, 8000.0])
@pytest.mark.parametrize("turn", [0.5, 0.0])
def test_a_draw_at_the_mode_itself_or_right_across_is_a_draw(dims: int, kappa: float, turn: float) -> None:
    """Numbers that float32 makes the first coordinate -1 or 1 of: an angle of 0 or pi, whose sine is no divisor."""
    loc = torch.nn.functional.one_hot(torch.tensor([dims - 1]), dims).float().requires_grad_()
    k = torch.full((1,), kappa, requires_grad=True)
    direction = torch.linspace(-1, 2, dims - 1)
    for u in (0.0, 1e-36):
        uniform = torch.tensor([u, turn, 0.1])[:, None].expand(3, TRIES)
        z, log_q = VMF(loc, k).draw(torch.cat([direction, uniform.flatten()])[None])
        along = (z * loc).sum().item()
        assert along == pytest.approx(1 if turn == 0.5 else -1, abs=1e-6)
        assert log_q.item() == pytest.approx(VMF(loc, k).log_prob(loc * (1 if along > 0 else -1)).item(), abs=2e-5)
        by_k, by_loc = torch.autograd.grad(z.sum() + log_q.sum(), (k, loc))
        # An angle at either end stays there; what is left is d log q / d kappa = +-1 - A(kappa).
        assert by_k.item() == pytest.approx(along - mean_length(kappa, dims), abs=1e-4)
        assert by_loc.isfinite().all()


@pytest.mark.parametrize("dims", [2, 3, 10])
def test_any_noise_gives_a_finite_draw_and_gradient(dims: int) -> None:
    ends = [0.0, 1e-30, 1e-9, 1e-5, 0.25, 0.5, 1 - 1e-5, 1 - 2**-24]
    uniform = torch.cartesian_prod(*[torch.tensor(ends)] * 3)[:, :, None].expand(-1, -1, TRIES).flatten(1)
    drawn = torch.cat([torch.ones(len(uniform), dims - 1), uniform], 1)
    for kappa in (2e-4, 0.05, 1.0, 38.0, 8000.0):
        loc = modes(1, dims).expand(len(drawn), -1).clone().requires_grad_()
        k = torch.full((len(drawn),), kappa, requires_grad=True)
        z, log_q = VMF(loc, k).draw(drawn)
        torch.testing.assert_close(z.norm(dim=-1), torch.ones(len(z)))
        assert log_q.isfinite().all()
        assert all(grad.isfinite().all() for grad in torch.autograd.grad(z.sum() + log_q.sum(), (k, loc)))


def test_every_image_begins_with_the_initial_concentration() -> None:
    features = torch.rand(5, 4, generator=torch.Generator().manual_seed(7))
    q = VonMisesFisher(4, 3, limit=9.0, initial=4.0)(features)
    torch.testing.assert_close(q.kappa, torch.full((5,), math.exp(4 / math.sqrt(1 + (4 / 9) ** 2))))


def test_float32_under_bfloat16_autocast() -> None:
    q = VMF(modes(4, 5), torch.tensor([0.1, 1.0, 100.0, 5000.0]))
    exact = (*q.draw(noise(5, 4)), q.kl_to_uniform())
    with torch.autocast("cpu", torch.bfloat16):
        for value, expected in zip((*q.draw(noise(5, 4)), q.kl_to_uniform()), exact, strict=True):
            assert torch.equal(value, expected)
        made = VonMisesFisher(4, 3)(torch.rand(2, 4))
    assert made.loc.dtype == made.kappa.dtype == made.kl_to_uniform().dtype == torch.float32
    torch.testing.assert_close(made.loc.norm(dim=-1), torch.ones(2))


def test_a_flat_prior_and_a_sphere_do_not_go_together() -> None:
    for posterior, prior in ((VonMisesFisher, StandardNormal), (DiagonalGaussian, UniformSphere)):
        with pytest.raises(InputError, match="prior=uniform_sphere goes with posterior=von_mises_fisher") as caught:
            build_vae(MLP(latent_dim=3, hidden=[4]), posterior, prior, Bernoulli(), (1, 4, 4))
        message = str(caught.value)
        assert f"the prior {prior.__name__}: " in message
        assert f"the posterior {posterior.__name__} " in message
        assert "\n" not in message


def test_a_single_dimension_is_refused() -> None:
    with pytest.raises(InputError, match="needs two dimensions"):
        VonMisesFisher(4, 1)
