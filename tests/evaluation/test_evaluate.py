"""A whole evaluation: what its figures are, and what they do not depend on."""

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from vae_experiments.data.dataset import UNLABELLED, ImageDataset
from vae_experiments.data.prepare import ImageData
from vae_experiments.data.source import Binarization
from vae_experiments.data.splits import Parts
from vae_experiments.errors import InputError, RunFailed
from vae_experiments.evaluation import evaluate as evaluate_module
from vae_experiments.evaluation import examined as examined_module
from vae_experiments.evaluation.bound import bound
from vae_experiments.evaluation.config import EvaluationConfig
from vae_experiments.evaluation.evaluate import Evaluation, evaluate, lines
from vae_experiments.evaluation.examined import Examined
from vae_experiments.evaluation.importance import log_likelihood
from vae_experiments.generation import inference
from vae_experiments.models.architectures import MLP
from vae_experiments.models.build import build_vae
from vae_experiments.models.likelihoods import Bernoulli, Gaussian, Likelihood
from vae_experiments.models.posteriors import DiagonalGaussian
from vae_experiments.models.priors import GaussianMixture, Prior, StandardNormal, VampPrior
from vae_experiments.models.vae import VAE

SHAPE = (1, 6, 5)
FAST = EvaluationConfig(
    what=["bound", "likelihood", "aggregate", "latents"], iw_samples=7, labelled=[20], label_draws=2
)
TEST = 230  # images, not a multiple of anything


def model(
    prior: Callable[..., Prior] = StandardNormal, likelihood: Likelihood | None = None, latent_dim: int = 3
) -> VAE:
    torch.manual_seed(0)
    vae = build_vae(MLP(latent_dim=latent_dim, hidden=[16]), DiagonalGaussian, prior, likelihood or Bernoulli(), SHAPE)
    with torch.no_grad():
        vae.posterior.mean.weight.mul_(2)
    return vae


def images(binarization: Binarization = "threshold", test: int = TEST) -> ImageData:
    rng = np.random.default_rng(0)
    n = 300 + test
    pixels = rng.integers(0, 256, (n, *SHAPE), dtype=np.uint8)
    if binarization == "threshold":
        pixels = np.where(pixels > 127, 255, 0).astype(np.uint8)
    labels = rng.integers(0, 3, n)
    pixels[labels == 1, :, :3] = 0
    dataset = ImageDataset("noise", pixels, labels, {0: "a", 1: "b", 2: "c"}, source="here")
    rows = np.arange(n)
    return ImageData(dataset, Parts(rows[:200], rows[200:300], rows[300:]), binarization)


def unlabelled(data: ImageData) -> ImageData:
    dataset = replace(data.dataset, labels=np.full(len(data.dataset), UNLABELLED), class_names={})
    return replace(data, dataset=dataset)


def close(a: Evaluation, b: Evaluation) -> None:
    assert a.metrics.keys() == b.metrics.keys()
    for name, value in a.metrics.items():
        assert value == pytest.approx(b.metrics[name], rel=2e-5, abs=2e-5), name


@pytest.fixture(scope="module")
def found() -> Evaluation:
    return evaluate(model(), images(), FAST)


def test_the_bound_is_the_sum_of_its_parts_and_every_image_counts_once(found: Evaluation) -> None:
    vae, data, metrics = model(), images(), found.metrics
    assert metrics["test/elbo"] == pytest.approx(-metrics["test/reconstruction"] - metrics["test/kl"])
    x = torch.from_numpy(data.images(data.parts.test, 0)).float() / 255
    with torch.no_grad():
        q = vae.encode(x)
        kl = torch.distributions.kl_divergence(
            torch.distributions.Normal(q.mean, torch.exp(0.5 * q.logvar)), torch.distributions.Normal(0.0, 1.0)
        )
        shown = vae.reconstruct(x)
    assert metrics["test/kl"] == pytest.approx(kl.sum(1).mean().item(), rel=1e-5)
    np.testing.assert_allclose(found.per_dimension["kl"], kl.mean(0), rtol=1e-4)
    np.testing.assert_allclose(found.per_dimension["activity"], q.mean.var(0, correction=0), rtol=1e-4)
    assert metrics["test/active_units"] == sum(a > 0.01 for a in found.per_dimension["activity"])
    assert metrics["test/mse"] == pytest.approx((x - shown).square().mean().item(), rel=1e-4)


def test_more_draws_of_the_bound_agree_with_the_one(found: Evaluation) -> None:
    vae, data = model(), images()
    x = torch.from_numpy(data.images(data.parts.test, 0)).float() / 255
    with torch.no_grad():
        draws = torch.stack([-vae.likelihood.log_prob(x, vae(x, torch.randn(TEST, 3)).params) for _ in range(50)])
    error = draws.std(0).square().sum().sqrt() / TEST  # of the mean over images, by one draw for each
    assert abs(found.metrics["test/reconstruction"] - draws.mean().item()) < 4 * error


def test_bits_per_dim_are_of_a_probability_alone(found: Evaluation) -> None:
    assert found.metrics["test/bits_per_dim"] == pytest.approx(-found.metrics["test/elbo"] / np.log(2) / 30)
    bits = found.metrics["test/nll_iw7_bits_per_dim"]
    assert bits == pytest.approx(found.metrics["test/nll_iw7"] / np.log(2) / 30)
    assert found.metrics["test/nll_iw7"] <= -found.metrics["test/elbo"] + 0.5
    for vae, data in [(model(), images("none")), (model(likelihood=Gaussian()), images("none"))]:
        assert not [name for name in evaluate(vae, data, FAST).metrics if "bits" in name]


def test_every_figure_carries_its_protocol(found: Evaluation) -> None:
    assert found.tags == {
        "evaluation.part": "test",
        "evaluation.images": "230",
        "evaluation.seed": "0",
        "evaluation.split": "200 train, 100 val, 230 test",
        "evaluation.binarization": "threshold",
        "evaluation.likelihood": "bernoulli",
        "evaluation.z_mode": "sampled",
        "evaluation.aggregate_images": "230",
    }


def test_of_grey_images_under_bernoulli_pixels_it_is_said_that_the_figures_are_a_loss(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    tags = evaluate(model(), images("none"), replace(FAST, what=["likelihood"])).tags
    assert "a loss, not a log-likelihood" in tags["evaluation.bound"]
    assert tags["evaluation.bound"] in caplog.text


def test_no_figure_depends_on_how_much_is_computed_at_once(found: Evaluation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "BLOCK_PIXELS", 5 * 30)
    monkeypatch.setattr(evaluate_module, "COMPARED", 17)
    monkeypatch.setattr("vae_experiments.evaluation.aggregate.PAIR_VALUES", 1000)
    monkeypatch.setattr("vae_experiments.evaluation.importance.BLOCK_PIXELS", 1)
    close(evaluate(model(), images(), FAST), found)


@pytest.mark.parametrize("n", [1, 99, 100, 101, 230])
def test_an_images_figures_are_its_own_whatever_comes_after_it(n: int) -> None:
    data = images()
    whole = Examined.of(model(), data, data.parts.test, seed=0)
    some = Examined.of(model(), data, data.parts.test[:n], seed=0)
    np.testing.assert_allclose(bound(some).elbo, bound(whole).elbo[:n], rtol=1e-5)
    for samples in (3, 60):
        np.testing.assert_allclose(
            log_likelihood(some, samples).values, log_likelihood(whole, samples).values[:n], rtol=1e-5
        )


def test_the_same_seed_gives_the_same_figures_and_another_one_others(found: Evaluation) -> None:
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    again = evaluate(model(), images(), FAST)
    assert again.metrics == found.metrics
    assert again.per_dimension == found.per_dimension
    other = evaluate(model(), images(), replace(FAST, seed=1))
    for name in ("elbo", "nll_iw7", "mutual_information", "knn_accuracy_20"):
        assert other.metrics[f"test/{name}"] != found.metrics[f"test/{name}"]
    assert other.metrics["test/kl"] == found.metrics["test/kl"]  # nothing is drawn for it
    assert other.metrics["test/elbo"] == pytest.approx(found.metrics["test/elbo"], rel=0.05)


@pytest.mark.parametrize("prior", [StandardNormal, GaussianMixture, VampPrior])
def test_it_leaves_no_trace_on_the_model_or_on_anyones_random_numbers(prior: Callable[..., Prior]) -> None:
    vae = model(prior)
    vae.encoder = nn.Sequential(vae.encoder, nn.Dropout(0.5))
    vae.train()
    vae.decoder.eval()  # a part that someone has frozen
    modes = [module.training for module in vae.modules()]
    weights = {name: value.clone() for name, value in vae.state_dict().items()}
    torch.manual_seed(5)
    before, legacy = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = evaluate(vae, images(), FAST)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], legacy)  # noqa: NPY002
    assert [module.training for module in vae.modules()] == modes
    assert all(torch.equal(value, weights[name]) for name, value in vae.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in vae.parameters())
    assert torch.is_grad_enabled()
    assert evaluate(vae, images(), FAST).metrics == first.metrics  # dropout was off


def test_under_another_prior_no_dimension_has_a_rate_of_its_own() -> None:
    found = evaluate(model(GaussianMixture), images(), replace(FAST, what=["bound"]))
    assert "kl" not in found.per_dimension
    assert len(found.per_dimension["activity"]) == 3
    assert found.metrics["test/kl"] > 0


def test_an_empty_part_is_refused_in_one_line_that_names_another() -> None:
    with pytest.raises(InputError, match=r"^evaluation\.part=test: .*evaluation\.part=val.*$"):
        evaluate(model(), images(test=0), FAST)
    found = evaluate(model(), images(test=0), replace(FAST, part="val"))
    assert found.tags["evaluation.images"] == "100"
    assert all(name.startswith("val/") for name in found.metrics)


def test_what_needs_labels_is_left_out_where_there_are_none(caplog: pytest.LogCaptureFixture) -> None:
    config = replace(FAST, what=["bound", "latents", "samples"])
    found = evaluate(model(), unlabelled(images()), config)
    assert found.metrics.keys() >= {"test/elbo", "test/mse"}
    assert not [name for name in found.metrics if "knn" in name or "frechet" in name]
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [line.split(" is left out: ")[0] for line in warned] == ["latents", "samples"]
    assert all("\n" not in line and "label" in line for line in warned)


def test_a_single_image_has_the_figures_that_it_can_have(caplog: pytest.LogCaptureFixture) -> None:
    data = images(test=1)
    found = evaluate(model(), data, FAST)
    assert "aggregate is left out" in caplog.text
    assert "test/nll_iw7" in found.metrics
    assert "test/nll_iw7_stderr" not in found.metrics
    assert all(np.isfinite(value) for value in found.metrics.values())


def test_an_aggregate_of_some_images_is_of_as_many_as_were_asked_for() -> None:
    found = evaluate(model(), images(), replace(FAST, what=["aggregate"], aggregate_images=120))
    assert found.tags["evaluation.aggregate_images"] == "120"
    assert 0 < found.metrics["test/mutual_information"] <= np.log(120)


def test_samples_are_judged_in_the_features_of_a_known_extractor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vae_experiments.evaluation.extractor_training.IMAGES_SEEN", 400)
    config = replace(FAST, what=["samples"], generated=60)
    found = evaluate(model(), images(), config)
    assert found.metrics.keys() == {
        f"test/{name}" for name in ("frechet", "precision", "recall", "density", "coverage")
    }
    assert found.metrics["test/frechet"] > 0
    assert len(found.tags["evaluation.extractor"]) == 64
    assert found.tags["evaluation.samples"] == "60, pixels drawn"
    assert evaluate(model(), images(), config).metrics == found.metrics
    grey = evaluate(model(), images("none"), config)
    assert grey.tags["evaluation.samples"] == "60, pixels expected"
    assert grey.tags["evaluation.extractor"] != found.tags["evaluation.extractor"]


def test_what_is_written_can_be_read_again(found: Evaluation, tmp_path: Path) -> None:
    path = found.write(tmp_path / "new")
    assert path == tmp_path / "new" / "test.json"
    content: dict[str, Any] = json.loads(path.read_text())
    asked = content.pop("settings")
    assert (asked["part"], asked["iw_samples"], asked["seed"]) == ("test", found.config.iw_samples, found.config.seed)
    assert asked["what"] == list(found.config.what)
    assert content == {"metrics": found.metrics, "tags": found.tags, "per_dimension": found.per_dimension}
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunFailed, match=r"^cannot write .*test\.json: "):
        found.write(tmp_path / "file")
    assert f"{found.metrics['test/elbo']:.4f}" in lines(found)[0]


def test_the_random_numbers_of_a_block_are_fixed() -> None:
    assert examined_module.BLOCK == 100  # another number would change every published figure
