import json
import re

import numpy as np
import pytest
import torch
from torch import nn

from vae_experiments.figures.config import FiguresConfig
from vae_experiments.figures.explorer.content import describe_images, describe_model, explorer
from vae_experiments.figures.explorer.page import render_page
from vae_experiments.figures.explorer.program import UnknownLayerError, program
from vae_experiments.figures.subject import Subject
from vae_experiments.models.architectures import MLP, Conv, ResNet
from vae_experiments.models.build import build_vae
from vae_experiments.models.likelihoods import Bernoulli, Likelihood
from vae_experiments.models.posteriors import DiagonalGaussian
from vae_experiments.models.priors import StandardNormal

ROOM = 2**22
ODD = ["</script><script>alert(1)</script>", "<!--", "{{script}}", "a\u2028b", '"\\']


def model_of(architecture, shape=(1, 28, 28), likelihood=None):
    torch.manual_seed(0)
    return build_vae(architecture, DiagonalGaussian, StandardNormal, likelihood or Bernoulli(), shape)


def codes_of(vae, n=8):
    return np.random.default_rng(0).standard_normal((n, vae.latent_dim), dtype=np.float32)


def kinds(ops):
    return [op["op"] if op["op"] != "residual" else kinds(op["branch"]) for op in ops]


def content_of(page):
    (text,) = re.findall(r'<script type="application/json" id="content">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)


@pytest.mark.parametrize(
    ("architecture", "expected"),
    [
        (Conv(), ["dense", "relu", "shape", "transposed", "relu", "convolution"]),
        (MLP(hidden=[8, 4]), ["dense", "relu", "dense", "relu", "dense", "shape"]),
        (
            ResNet(channels=[4]),
            ["dense", "silu", "dense", "shape", ["silu", "convolution"] * 2, "enlarge", "convolution"],
        ),
    ],
)
def test_a_decoder_is_a_list_of_operations_with_all_its_weights(architecture, expected):
    vae = model_of(architecture)
    packed = program(vae, codes_of(vae), ROOM)
    assert kinds(packed["ops"]) == expected
    weights = sum(p.numel() for p in vae.decoder.parameters())
    assert len(packed["weights"]) == -(-weights * 2 // 3) * 4
    assert packed["format"] == "float16"


def test_weights_stay_in_float32_where_rounding_them_would_be_seen():
    vae = model_of(MLP(hidden=[8]))
    vae.decoder[0].weight.data *= 1e6  # beyond float16
    vae.decoder[2].weight.data /= 1e6
    packed = program(vae, codes_of(vae), ROOM)
    assert packed["format"] == "float32"


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class Odd(Likelihood):
    def mean(self, params):
        return torch.sigmoid(params)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda vae: setattr(vae, "decoder", nn.Sequential(Doubled(2, 784), nn.Unflatten(1, (1, 28, 28)))), "Doubled"),
        (lambda vae: vae.decoder.append(nn.LeakyReLU(0.3)), "LeakyReLU"),
        (lambda vae: vae.decoder.append(nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect")), "Conv2d"),
        (lambda vae: vae.decoder.append(nn.Softplus()), "Softplus"),
        (lambda vae: setattr(vae, "likelihood", Odd()), "likelihood is Odd"),
    ],
)
def test_what_the_page_cannot_compute_is_named_and_pictures_take_its_place(spoil, said, make_data):
    vae = model_of(MLP(hidden=[8]))
    spoil(vae)
    with pytest.raises(UnknownLayerError, match=said):
        program(vae, codes_of(vae), ROOM)
    model = describe_model(Subject(vae, make_data((1, 28, 28)), FiguresConfig()), "x")
    assert model["decoder"] is None
    assert said in model["why"]
    assert model["grid"]["sheet"]["count"] == 256


def test_a_decoder_too_large_for_a_page_is_left_out():
    vae = model_of(MLP(hidden=[512, 256]))
    with pytest.raises(UnknownLayerError, match="534,544 weights are too many"):
        program(vae, codes_of(vae), 2**20)


def test_the_model_is_left_as_it_was(make_vae, make_data):
    vae = make_vae().train()
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    explorer(Subject(vae, make_data(), FiguresConfig()), "x")
    assert all(module.training for module in vae.modules())
    assert all(torch.equal(before[name], value) for name, value in vae.state_dict().items())


def test_bfloat16_of_a_training_run_does_not_reach_the_page(make_vae):
    vae = make_vae()
    with torch.autocast("cpu", torch.bfloat16):
        within = program(vae, codes_of(vae), ROOM)
    assert within == program(vae, codes_of(vae), ROOM)


@pytest.mark.parametrize("odd", ODD)
def test_names_from_outside_stay_text(make_vae, make_data, odd):
    subject = Subject(make_vae(), make_data(names=[odd, "b"]), FiguresConfig())
    plain = explorer(Subject(make_vae(), make_data(names=["a", "b"]), FiguresConfig()), "a")
    page = explorer(subject, odd)
    assert page.lower().count("</script") == plain.lower().count("</script")
    assert page.count("<!--") == plain.count("<!--")
    content = content_of(page)
    assert content["title"] == odd
    assert content["models"][0]["name"] == odd
    assert content["images"][0]["classes"][0]["name"] == odd


def test_the_page_asks_for_nothing_from_anywhere(make_vae, make_data):
    page = explorer(Subject(make_vae(), make_data(), FiguresConfig()), "x")
    assert not re.search(
        r"https?:|//[a-z]+\.|@import|\bfetch\(|XMLHttpRequest|localStorage|sessionStorage|cookie", page
    )
    assert "default-src 'none'; img-src data:;" in page
    assert not re.search(r'(src|href)="', page)
    assert "{{" not in page


def test_the_default_models_page_is_small_and_holds_codes_and_training_images(make_data):
    data = make_data((1, 28, 28), n=3000, names=["a", "b"])
    vae = model_of(Conv())
    subject = Subject(vae, data, FiguresConfig())
    page = explorer(subject, "x")
    assert len(page) < 2**20 * 1.6  # a thousand images of noise are nearly all of it
    images = describe_images(subject)
    assert images["sheet"]["count"] == 1000
    assert images["total"] == 2000
    assert len(content_of(page)["models"][0]["codes"]) == -(-1000 * 2 * 2 // 3) * 4


def test_many_codes_and_large_images_are_thinned_out(make_data):
    vae = model_of(MLP(hidden=[2]), (3, 64, 64))
    data = make_data((3, 64, 64), n=600)
    subject = Subject(vae, data, FiguresConfig())
    assert describe_images(subject)["sheet"]["count"] == 1_500_000 // (3 * 64 * 64)
    model = describe_model(subject, "x", points=50)
    assert len(model["labels"]) == -(-50 * 2 // 3) * 4


def test_several_models_share_their_images(make_vae, make_data):
    data = make_data()
    subjects = [Subject(make_vae(dim), data, FiguresConfig()) for dim in (1, 2, 5)]
    models = [describe_model(s, str(s.vae.latent_dim)) | {"images": 0} for s in subjects]
    content = content_of(render_page("three", models, [describe_images(subjects[0])], "a note"))
    assert [model["latent_dim"] for model in content["models"]] == [1, 2, 5]
    assert content["note"] == "a note"


def test_what_is_not_finite_makes_no_page(make_vae, make_data):
    vae = make_vae()
    vae.posterior.mean.weight.data[:] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        explorer(Subject(vae, make_data(), FiguresConfig()), "x")
