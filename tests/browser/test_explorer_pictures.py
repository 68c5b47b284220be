"""The explorer's pictures in a real browser are PyTorch's, whatever the model, and it is fast and small enough."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exploring import COLOUR, GREY, at, data_of, frame, here, levels_of, page_of, shown, vae_of
from torch import nn

from vae_experiments.figures.config import FiguresConfig
from vae_experiments.figures.explorer.content import describe_images, describe_model
from vae_experiments.figures.explorer.page import render_page
from vae_experiments.figures.subject import Subject
from vae_experiments.models.architectures import MLP, Architecture, Conv, ResNet
from vae_experiments.models.likelihoods import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    Gaussian,
    Likelihood,
)
from vae_experiments.models.posteriors import VonMisesFisher
from vae_experiments.models.priors import UniformSphere

pytest.importorskip("playwright.sync_api")

ARCHITECTURES: dict[str, Architecture] = {
    "conv": Conv(),
    "conv, gelu, odd strides": Conv(filters=[8, 16, 8], strides=[2, 3, 2], activation="gelu"),
    "conv_small": Conv(filters=[16, 32], strides=[2, 2], dense=32, activation="elu"),
    "mlp": MLP(hidden=[64, 32], activation="tanh"),
    "mlp, leaky": MLP(hidden=[32], activation="leaky_relu"),
    "resnet": ResNet(channels=[16, 32, 32], dense=64),
}
LIKELIHOODS: list[tuple[tuple[int, int, int], Callable[[], Likelihood]]] = [
    (GREY, Bernoulli),
    (COLOUR, DiscretizedLogisticMixture),
    (COLOUR, lambda: Gaussian(scale_is="per_pixel")),
    ((2, 9, 10), DiscretizedLogistic),
    (COLOUR, ContinuousBernoulli),
    ((1, 8, 8), Categorical),
]


@pytest.mark.parametrize(("shape", "likelihood"), LIKELIHOODS)
def test_every_decoder_draws_what_pytorch_does(
    opened: Callable[..., Any], shape: tuple[int, int, int], likelihood: Callable[[], Likelihood]
) -> None:
    data = data_of(shape)
    vaes = {name: vae_of(architecture, likelihood(), shape) for name, architecture in ARCHITECTURES.items()}
    models = []
    for name, vae in vaes.items():
        models.append(describe_model(Subject(vae, data, FiguresConfig()), name, limit=2**27) | {"images": 0})
    first = Subject(next(iter(vaes.values())), data, FiguresConfig())
    page = opened(render_page("all", models, [describe_images(first)]))
    z = [[0.0, 0.0], [1.5, -0.5], [-2.0, 3.0], [0.01, -1.2]]
    for number, (name, vae) in enumerate(vaes.items()):
        made = page.evaluate(
            "([n, all]) => all.map(z => Array.from(explorer.levelsAt(explorer.models[n], Float64Array.from(z))))",
            [number, z],
        )
        expected = levels_of(vae, z)
        assert np.abs(np.array(made) - expected).max() <= 1, name
        assert expected.std() > 1, name  # not flat pictures that anything would match


def test_on_a_sphere_the_point_stays_on_it(opened: Callable[..., Any]) -> None:
    vae = vae_of(MLP(hidden=[32], latent_dim=4), Bernoulli(), GREY, VonMisesFisher, UniformSphere)
    page = opened(page_of(vae, data_of(GREY)))
    for x, y in ((0.5, 0.5), (0.3, 0.7), (0.99, 0.5), (0.02, 0.03)):
        page.mouse.move(*at(page, x, y))
        frame(page)
        z = here(page)
        assert np.linalg.norm(z) == pytest.approx(1)
        assert np.abs(np.array(shown(page)[::3]) - levels_of(vae, [z])[0]).max() <= 1


def test_several_models_are_at_the_same_point(opened: Callable[..., Any]) -> None:
    data = data_of(GREY)
    vaes = [vae_of(MLP(hidden=[32], latent_dim=dim), Bernoulli(), GREY) for dim in (3, 1, 2)]
    models = [describe_model(Subject(v, data, FiguresConfig()), f"{v.latent_dim} of them") for v in vaes]
    images = [describe_images(Subject(vaes[0], data, FiguresConfig()))]
    page = opened(render_page("three", [model | {"images": 0} for model in models], images))
    page.locator("#across").select_option(index=0)
    page.locator("#up").select_option(index=1)
    page.mouse.move(*at(page, 0.7, 0.4, number=2))
    frame(page)
    points = [here(page, number) for number in range(3)]
    assert points[0][:2] == points[2]
    assert points[0][:1] == points[1]
    for number, vae in enumerate(vaes):
        assert np.abs(np.array(shown(page, 0, number)[::3]) - levels_of(vae, [points[number]])[0]).max() <= 1


@pytest.mark.parametrize(("width", "height", "columns"), [(1050, 640, 4), (870, 668, 4), (1400, 900, 4), (400, 800, 2)])
def test_the_pictures_of_four_models_are_seen_at_once_below_the_controls(
    opened: Callable[..., Any], width: int, height: int, columns: int
) -> None:
    """1050 x 640, or 870 x 668: what MLflow leaves of a window of 1400 x 900 for an artifact, as its menus are."""
    data = data_of(GREY, tuple("0123456789"))
    subjects = [
        Subject(vae_of(MLP(hidden=[32], latent_dim=dim), Bernoulli(), GREY), data, FiguresConfig())
        for dim in (2, 8, 2, 16)
    ]
    models = [
        describe_model(each, f"latent_dim={each.vae.latent_dim} kl_weight=0.5, seed {n}", note="val/elbo -141.23")
        for n, each in enumerate(subjects)
    ]
    text = render_page("a sweep", [model | {"images": 0} for model in models], [describe_images(subjects[0])])
    page = opened(text, width, height)
    frame(page)
    boxes = [pair.locator("canvas").first.bounding_box() for pair in page.locator(".pair").all()]
    controls = page.locator("#controls").bounding_box()
    assert len(boxes) == 4
    for box in boxes:
        assert box["y"] >= controls["y"] + controls["height"]
        assert box["y"] + box["height"] <= height
        assert 0 <= box["x"] <= box["x"] + box["width"] <= width
        assert box["width"] >= 100
    assert len({round(box["x"]) for box in boxes}) == columns
    assert len({round(box["y"]) for box in boxes}) == 4 // columns
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"explorer-four-{width}.png")
    if columns == 4:  # and they stay in sight beside the last of the planes
        page.mouse.wheel(0, 5000)
        frame(page)
        assert all(pair.locator("canvas").first.bounding_box()["y"] >= 0 for pair in page.locator(".pair").all())


class Softened(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x)


def test_a_decoder_of_ones_own_leaves_pictures_made_before(opened: Callable[..., Any]) -> None:
    vae = vae_of(MLP(hidden=[32]), Bernoulli(), GREY)
    assert isinstance(vae.decoder, nn.Sequential)
    vae.decoder.append(Softened())
    page = opened(page_of(vae, data_of(GREY)))
    assert "a layer Softened" in page.locator(".warning").inner_text()
    page.mouse.move(*at(page, 0.98, 0.02))
    frame(page)
    reach = page.evaluate("explorer.models[0].grid.reach")
    assert np.abs(np.array(shown(page)[::3]) - levels_of(vae, [[reach, reach]])[0]).max() <= 1


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (400, "dark")])
def test_nothing_lies_outside_the_window(opened: Callable[..., Any], width: int, scheme: str) -> None:
    vae = vae_of(MLP(hidden=[32], latent_dim=20), Bernoulli(), GREY)
    page = opened(
        page_of(vae, data_of(GREY, tuple(f"a long name of a class {i}" for i in range(30)))), width, 800, scheme
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for canvas in page.locator("canvas").all():
        box = canvas.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"explorer-{width}-{scheme}.png", full_page=True)


def test_the_default_decoder_keeps_up_with_the_pointer(
    opened: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    text = page_of(vae_of(Conv(), Bernoulli(), GREY), data_of(GREY))
    page = opened(text)
    per_second = page.evaluate("""() => {
        const began = performance.now();
        let frames = 0;
        for (; performance.now() - began < 2000; frames++) {
            explorer.change({ peek: Float64Array.from([Math.sin(frames / 50), Math.cos(frames / 70)]) });
            explorer.draw();
        }
        return frames / 2;
    }""")
    with capsys.disabled():
        print(f"\nexplorer of the default model: {per_second:.0f} frames/s, {len(text) / 2**20:.2f} MiB")
    assert per_second > 10  # on a machine that does other things as well; alone it is above 100
