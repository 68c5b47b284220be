"""What all likelihoods promise, and that each of them trains on digits from its first step."""

import math
from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from support import BARE, only_folder, results
from torch import Tensor, nn

from vae_experiments.cli import main
from vae_experiments.config.hydra_app import to_plain
from vae_experiments.config.paths import conf_dir
from vae_experiments.config.resolvers import register_resolvers
from vae_experiments.data.sources.mnist5k import MNIST5K
from vae_experiments.data.splits import Fractions
from vae_experiments.errors import InputError
from vae_experiments.generation import inference
from vae_experiments.models.architectures import MLP
from vae_experiments.models.build import build_vae
from vae_experiments.models.likelihoods import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    Gaussian,
    Likelihood,
    Pixels,
)
from vae_experiments.models.posteriors import DiagonalGaussian
from vae_experiments.models.priors import StandardNormal
from vae_experiments.objectives import ELBO, Progress
from vae_experiments.runs.config import RunConfig
from vae_experiments.sweeps.compose import ABOUT_THE_SWEEP

# By the names of their files in conf/likelihood.
EVERY: dict[str, Callable[[], Likelihood]] = {
    "bernoulli": Bernoulli,
    "continuous_bernoulli": ContinuousBernoulli,
    "gaussian": Gaussian,
    "gaussian_learned": lambda: Gaussian(scale_is="learned"),
    "gaussian_per_pixel": lambda: Gaussian(scale_is="per_pixel"),
    "discretized_logistic": DiscretizedLogistic,
    "discretized_logistic_mixture": DiscretizedLogisticMixture,
    "categorical": Categorical,
}
DENSITIES = {"continuous_bernoulli", "gaussian", "gaussian_learned", "gaussian_per_pixel"}


@pytest.fixture(params=list(EVERY))
def likelihood(request: pytest.FixtureRequest) -> Likelihood:
    return EVERY[request.param]()


def grey(*shape: int) -> Tensor:
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(0)) / 255


def params_of(likelihood: Likelihood, batch: int, channels: int = 1, size: float = 1.0) -> Tensor:
    shape = (batch, channels * likelihood.params_per_channel, 4, 5)
    return size * torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def composed(*overrides: str) -> RunConfig:
    register_resolvers()
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        config = to_plain(compose("train", [*BARE, *overrides]))
    return RunConfig.of({key: value for key, value in config.items() if key not in ABOUT_THE_SWEEP})


def test_each_file_composes_to_what_python_makes_of_the_class() -> None:
    assert {path.stem for path in (conf_dir() / "likelihood").glob("*.yaml")} == set(EVERY)
    for name, make in EVERY.items():
        built, expected = composed(f"likelihood={name}").likelihood, make()
        assert type(built) is type(expected)
        for setting in ("components", "scale_is", "initial", "params_per_channel"):
            assert getattr(built, setting, None) == getattr(expected, setting, None)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["likelihood=gaussian", "likelihood.scale=0"], "likelihood.scale=0"),
        (["likelihood=gaussian", "likelihood.scale_is=pixel"], "likelihood.scale_is='pixel'.*per_pixel"),
        (["likelihood=discretized_logistic_mixture", "likelihood.components=0"], "likelihood.components=0"),
        (["+likelihood.scale=0.1"], "likelihood.scale: no such key"),
    ],
)
def test_wrong_settings_are_refused_by_name(overrides: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        composed(*overrides)


def test_images_and_channels_are_independent(likelihood: Likelihood) -> None:
    x, params = grey(3, 2, 4, 5), params_of(likelihood, 3, channels=2)
    log_prob = likelihood.log_prob(x, params)
    assert log_prob.shape == (3,)
    one, other = params.chunk(2, 1)  # a channel's parameters are side by side
    apart = likelihood.log_prob(x[:, :1], one) + likelihood.log_prob(x[:, 1:], other)
    torch.testing.assert_close(apart, log_prob)
    torch.testing.assert_close(torch.cat([likelihood.mean(one), likelihood.mean(other)], 1), likelihood.mean(params))
    torch.testing.assert_close(likelihood.log_prob(x[1:2], params[1:2]), log_prob[1:2])


def test_no_images_have_no_terms(likelihood: Likelihood) -> None:
    """A process's share of the last batch may be none of its images; the update goes on through it."""
    params = params_of(likelihood, 0, channels=2).requires_grad_()
    log_prob = likelihood.log_prob(grey(0, 2, 4, 5), params)
    assert log_prob.shape == (0,)
    log_prob.sum().backward()
    assert params.grad is not None
    assert likelihood.mean(params).shape == (0, 2, 4, 5)


@pytest.mark.parametrize("size", [0.0, 1.0, 100.0, 1e4])
def test_values_gradients_and_pictures_stay_finite(likelihood: Likelihood, size: float) -> None:
    params = params_of(likelihood, 5, size=size).requires_grad_()
    for x in (torch.zeros(5, 1, 4, 5), torch.ones(5, 1, 4, 5), grey(5, 1, 4, 5)):
        log_prob = likelihood.log_prob(x, params)
        (gradient,) = torch.autograd.grad(log_prob.sum(), params)
        assert log_prob.isfinite().all()
        assert gradient.isfinite().all()
    for images in (likelihood.mean(params), likelihood.sample(params.detach(), torch.Generator())):
        assert images.shape == (5, 1, 4, 5)
        assert ((images >= 0) & (images <= 1)).all()


def test_autocast_changes_nothing_behind_the_decoder(likelihood: Likelihood) -> None:
    params, x = params_of(likelihood, 3).bfloat16(), grey(3, 1, 4, 5)
    with torch.autocast("cpu", torch.bfloat16):
        got = likelihood.log_prob(x, params), likelihood.mean(params)
    for value, expected in zip(got, (likelihood.log_prob(x, params.float()), likelihood.mean(params)), strict=True):
        assert value.dtype is torch.float32
        assert torch.equal(value, expected)


def test_draws_are_the_generators_alone(likelihood: Likelihood) -> None:
    params = params_of(likelihood, 50)
    before = torch.get_rng_state()
    first, again, other = (likelihood.sample(params, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_draws_average_to_the_picture(likelihood: Likelihood) -> None:
    if isinstance(likelihood, Gaussian):
        likelihood = Gaussian(0.05, likelihood.scale_is)  # so narrow that nothing is clipped
    params = params_of(likelihood, 1, size=0.7)
    draws = likelihood.sample(params.expand(4000, -1, -1, -1), torch.Generator().manual_seed(3))
    error = draws.std(0) / math.sqrt(len(draws))
    assert ((draws.mean(0) - likelihood.mean(params)[0]).abs() < 4.5 * error + 1e-4).all()


class Picture(nn.Module):
    """The likelihood's mean as a module, which is what can be exported."""

    def __init__(self, likelihood: Likelihood) -> None:
        super().__init__()
        self.likelihood = likelihood

    def forward(self, params: Tensor) -> Tensor:
        return self.likelihood.mean(params)


def test_pictures_can_be_exported_for_any_number_of_images(likelihood: Likelihood) -> None:
    dynamic = ({0: torch.export.Dim("images")},)
    graph = torch.export.export(Picture(likelihood), (params_of(likelihood, 2),), dynamic_shapes=dynamic).module()
    params = params_of(likelihood, 7)
    torch.testing.assert_close(graph(params), likelihood.mean(params))


@pytest.mark.parametrize("name", EVERY)
def test_only_true_probabilities_count_bits(name: str) -> None:
    likelihood = EVERY[name]()
    counts = {pixels: likelihood.counts_bits(pixels) for pixels in get_args(Pixels)}
    assert counts == {"binary": name not in DENSITIES, "levels": name not in {*DENSITIES, "bernoulli"}}


@pytest.mark.parametrize("name", EVERY)
def test_a_misfit_is_told_with_what_would_fit(name: str) -> None:
    likelihood = EVERY[name]()
    binary, levels = likelihood.misfit("binary"), likelihood.misfit("levels")
    if name in DENSITIES:
        assert binary == "a density on binary pixels: a loss, not a log-likelihood; likelihood=bernoulli makes it one"
        assert levels is None
    elif name == "bernoulli":
        assert binary is None
        assert levels is not None
        assert "dataset.binarization=dynamic makes it one" in levels
    else:
        assert binary is levels is None


@pytest.fixture(scope="module")
def digits() -> Tensor:
    """200 of them, 20 of each, every other row and column."""
    return torch.from_numpy(MNIST5K(split=Fractions()).load().images[::25, :, ::2, ::2]).float() / 255


# Nats per image of a fresh model on digits, at most: a fair coin for each pixel, uniform levels, and for
# Gaussians of scale 0.2 around mid-grey 196 * (0.25 / 0.08 + log(0.2 * sqrt(2 pi))).
FRESH = {
    "bernoulli": 196 * math.log(2),
    "continuous_bernoulli": 0.0,
    **dict.fromkeys(DENSITIES - {"continuous_bernoulli"}, 478),
}
FRESH |= dict.fromkeys(EVERY.keys() - FRESH.keys(), 196 * math.log(256))


@pytest.mark.parametrize("name", EVERY)
def test_digits_are_learned_from_a_sane_start(name: str, digits: Tensor) -> None:
    torch.manual_seed(0)
    vae = build_vae(MLP(hidden=[32]), DiagonalGaussian, StandardNormal, EVERY[name](), (1, 14, 14))
    optimizer = torch.optim.Adam(vae.parameters(), 5e-3)
    losses = []
    for step in range(24):
        noise = torch.randn(50, 2, generator=torch.Generator().manual_seed(step))
        terms = ELBO()(vae, digits[step % 4 :: 4], noise, Progress(step, 4, 24, 200))
        optimizer.zero_grad()
        terms.loss.mean().backward()
        optimizer.step()
        losses.append(terms.loss.mean().item())
    assert np.isfinite(losses).all()
    assert losses[0] < FRESH[name] + 10  # KL, and what random weights add
    assert np.mean(losses[-4:]) < losses[0] - 50
    images = vae.images(torch.zeros(1, 2))
    assert ((images >= 0) & (images <= 1)).all()


@pytest.mark.parametrize(("name", "counts"), [("discretized_logistic", True), ("gaussian_learned", False)])
def test_a_run_reports_bits_per_dim_of_probabilities_only(name: str, counts: bool) -> None:
    assert main(["train", *BARE, f"likelihood={name}", "trainer.max_epochs=1"]) == 0
    (metrics,) = results(only_folder())
    for part in ("train", "val"):
        bits = {f"{part}/bits_per_dim": -metrics[f"{part}/elbo"] / math.log(2) / 784} if counts else {}
        assert {key: value for key, value in metrics.items() if key == f"{part}/bits_per_dim"} == pytest.approx(bits)


def test_pictures_are_decoded_in_blocks_that_256_maps_fit_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "BLOCK_PIXELS", 800 * 4 * 5)
    for likelihood, block in ((Bernoulli(), 800), (DiscretizedLogisticMixture(10), 800), (Categorical(), 100)):
        vae = build_vae(MLP(hidden=[4]), DiagonalGaussian, StandardNormal, likelihood, (1, 4, 5))
        sizes: list[int] = []
        vae.decoder.register_forward_hook(lambda *call, sizes=sizes: sizes.append(len(call[2])))
        assert inference.decode_images(vae, torch.zeros(1700, 2)).shape == (1700, 1, 4, 5)
        assert max(sizes) == block
