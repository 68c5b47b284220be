"""The explorer in a real browser: its pictures are PyTorch's, whatever the model, and it answers to hand and key."""

import html
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from vae_experiments.data.dataset import ImageDataset
from vae_experiments.data.prepare import ImageData
from vae_experiments.data.splits import Parts
from vae_experiments.figures.config import FiguresConfig
from vae_experiments.figures.explorer.content import describe_images, describe_model, explorer
from vae_experiments.figures.explorer.page import render_page
from vae_experiments.figures.subject import Subject
from vae_experiments.models.architectures import MLP, Architecture, Conv, ResNet
from vae_experiments.models.build import build_vae
from vae_experiments.models.likelihoods import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    Gaussian,
    Likelihood,
)
from vae_experiments.models.posteriors import DiagonalGaussian, Posterior, VonMisesFisher
from vae_experiments.models.priors import Prior, StandardNormal, UniformSphere
from vae_experiments.models.vae import VAE

sync_api = pytest.importorskip("playwright.sync_api")

HOSTILE = "</script><script>window.harmed = 1</script><img src=x onerror='window.harmed = 1'>"
FEW = 200  # images
GREY, COLOUR = (1, 28, 28), (3, 13, 9)

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


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Opens a page from disk, and afterwards holds it to have asked for nothing and to have met no error."""
    pages, asked, errors = [], [], []

    def open_page(text: str, width: int = 1400, height: int = 900, scheme: str = "light") -> Any:
        path = tmp_path / f"{len(pages)}.html"
        path.write_text(text, encoding="utf-8")
        viewport = {"width": width, "height": height}
        context = browser.new_context(viewport=viewport, color_scheme=scheme, offline=True)
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.on("request", lambda request: asked.append(request.url[:60]))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.goto(path.as_uri())
        page.evaluate("explorer.ready.then(() => true)")
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.context.close()
    assert not errors
    assert [url for url in asked if not url.startswith(("file:", "data:image/png"))] == []


def frame(page: Any) -> None:
    """Waits until what was set off has been drawn, and a whole interpolation with it."""
    page.evaluate(
        "new Promise(done => { let n = 0; const next = () => ++n > 40 ? done(true) : requestAnimationFrame(next); "
        "next(); })"
    )


def shown(page: Any, figure: int = 0, number: int = 0) -> list[int]:
    """The pixels of a model's decoded picture (0) or of its nearest training image (1), red, green, blue."""
    pixels: list[int] = page.evaluate(
        "([n, f]) => { const c = document.querySelectorAll('.model')[n].querySelectorAll('.pair canvas')[f];"
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


def test_the_picture_follows_the_pointer_and_the_nearest_image_stands_beside_it(opened: Callable[..., Any]) -> None:
    vae, data = vae_of(Conv(), Bernoulli(), GREY), data_of(GREY)
    page = opened(page_of(vae, data))
    before = here(page)
    seen = []
    for x, y in ((0.3, 0.3), (0.8, 0.55)):
        page.mouse.move(*at(page, x, y))
        frame(page)
        z = here(page)
        seen.append(z)
        expected = levels_of(vae, [z])[0]
        assert np.abs(np.array(shown(page)[::3]) - expected).max() <= 1
        training = data.dataset.images[data.parts.train].reshape(120, -1).astype(float)
        closest = training[np.square(training - np.array(shown(page)[::3])).sum(1).argmin()]
        np.testing.assert_array_equal(shown(page, 1)[::3], closest)
    assert seen[0][0] < 0 < seen[1][0]
    assert seen[0][1] > 0 > seen[1][1]
    page.mouse.move(5, 5)  # off the plane, the point is where it was set
    frame(page)
    assert here(page) == before
    page.mouse.click(*at(page, 0.3, 0.3))
    page.mouse.move(5, 5)
    frame(page)
    np.testing.assert_allclose(here(page), seen[0], atol=0.05)
    said = page.locator("#said")
    sync_api.expect(said).to_contain_text(f"point {here(page)[0]:.2f}, {here(page)[1]:.2f}")
    sync_api.expect(said).to_contain_text("Nearest of 120 training images")


def test_a_drag_is_an_interpolation(opened: Callable[..., Any]) -> None:
    vae = vae_of(MLP(hidden=[32]), Bernoulli(), GREY)
    page = opened(page_of(vae, data_of(GREY)))
    strip = "document.querySelector('.strip').getContext('2d').getImageData({0} * 28, 0, 28, 28).data"
    images = "Array.from(" + strip + ").filter((_, i) => i % 4 === 0)"
    page.mouse.move(*at(page, 0.2, 0.3))
    page.mouse.down()
    page.mouse.move(*at(page, 0.5, 0.4))
    page.mouse.move(*at(page, 0.7, 0.8))
    page.mouse.up()
    frame(page)
    start = page.evaluate("Array.from(explorer.state.mark)")
    end = here(page)
    assert start[0] < 0 < end[0]
    for step, share in ((0, 0.0), (4, 0.5), (8, 1.0)):
        z = [a * (1 - share) + b * share for a, b in zip(start, end, strict=True)]
        assert np.abs(np.array(page.evaluate(images.format(step))) - levels_of(vae, [z])[0]).max() <= 1
    page.locator(".plane").press("Escape")
    frame(page)
    assert page.evaluate("explorer.state.mark") is None


def test_a_finger_sets_the_point_and_drags_an_interpolation(browser: Any, tmp_path: Path) -> None:
    vae = vae_of(MLP(hidden=[32]), Bernoulli(), GREY)
    (tmp_path / "page.html").write_text(page_of(vae, data_of(GREY)), encoding="utf-8")
    context = browser.new_context(viewport={"width": 400, "height": 800}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    page.evaluate("explorer.ready.then(() => true)")
    page.touchscreen.tap(*at(page, 0.7, 0.3))
    frame(page)
    tapped = here(page)
    assert min(tapped) > 0
    assert np.abs(np.array(shown(page)[::3]) - levels_of(vae, [tapped])[0]).max() <= 1

    touch = context.new_cdp_session(page)  # Playwright itself only taps
    scrolled = page.evaluate("scrollY")
    for kind, spot in (("touchStart", (0.2, 0.3)), ("touchMove", (0.5, 0.5)), ("touchMove", (0.7, 0.8))):
        x, y = at(page, *spot)
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    frame(page)
    start, end = page.evaluate("Array.from(explorer.state.mark)"), here(page)
    assert start[0] < 0 < end[0]
    assert end[1] < 0 < start[1]
    assert page.evaluate("scrollY") == scrolled  # the finger is the plane's, not the page's
    context.close()


def test_keys_move_the_point_and_go_to_classes(opened: Callable[..., Any]) -> None:
    vae, data = vae_of(MLP(hidden=[32]), Bernoulli(), GREY), data_of(GREY, ("zero", "one", "two"))
    page = opened(page_of(vae, data))
    plane = page.locator(".plane")
    plane.press("ArrowRight")
    small = here(page)
    plane.press("Shift+ArrowUp")
    x, y = here(page)
    assert 0 < small[0] == x
    assert y == pytest.approx(5 * x)
    plane.press("1")
    subject = Subject(vae, data, FiguresConfig())
    np.testing.assert_allclose(here(page), subject.codes.mean[subject.labels == 1].mean(0), atol=2e-3)
    plane.press("Home")
    assert here(page) == [0, 0]
    frame(page)
    assert np.abs(np.array(shown(page)[::3]) - levels_of(vae, [[0, 0]])[0]).max() <= 1


def test_sliders_and_the_plane_reach_every_dimension(opened: Callable[..., Any]) -> None:
    vae = vae_of(MLP(hidden=[32], latent_dim=5), Bernoulli(), GREY)
    page = opened(page_of(vae, data_of(GREY)))
    for dim in range(5):
        slider = page.get_by_label(f"latent dimension {dim + 1}", exact=True)
        slider.focus()
        for _ in range(dim + 1):
            slider.press("ArrowRight")
    z = here(page)
    assert z == sorted(z)
    assert z[0] > 0
    page.locator("#across").select_option(index=3)
    page.locator("#up").select_option(index=1)
    page.mouse.click(*at(page, 0.25, 0.25))
    frame(page)
    moved = here(page)
    assert (moved[0], moved[2], moved[4]) == (z[0], z[2], z[4])
    assert moved[3] < 0 < moved[1]
    assert np.abs(np.array(shown(page)[::3]) - levels_of(vae, [moved])[0]).max() <= 1


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


def test_names_that_are_markup_are_shown_as_they_are(opened: Callable[..., Any]) -> None:
    data = data_of(GREY, (HOSTILE, "b"))
    page = opened(page_of(vae_of(MLP(hidden=[8]), Bernoulli(), GREY), data, HOSTILE))
    assert page.locator("h1").inner_text() == HOSTILE
    assert page.title() == HOSTILE
    assert page.locator(".chip").first.locator("span").get_attribute("title") == HOSTILE
    assert page.evaluate("window.harmed") is None


def test_a_hidden_classes_codes_are_not_drawn(opened: Callable[..., Any]) -> None:
    page = opened(page_of(vae_of(MLP(hidden=[8]), Bernoulli(), GREY), data_of(GREY)))
    ink = "(() => { const c = document.querySelector('.plane'); explorer.draw(); const d = c.getContext('2d')"
    ink += ".getImageData(0, 0, c.width, c.height).data; let n = 0; for (let i = 0; i < d.length; i += 4) "
    ink += "n += Math.max(d[i], d[i + 1], d[i + 2]) - Math.min(d[i], d[i + 1], d[i + 2]) > 40; return n })()"
    frame(page)
    before = page.evaluate(ink)
    chips = page.locator(".chip")
    for number in range(3):
        chips.nth(number).click()
        frame(page)
        after = page.evaluate(ink)
        assert after < before
        before = after
    assert chips.first.get_attribute("aria-pressed") == "false"


def test_it_works_in_a_sandboxed_frame_as_mlflow_has_it(browser: Any) -> None:
    """Origin null: no storage, no requests."""
    vae = vae_of(Conv(), Bernoulli(), GREY)
    inner = html.escape(page_of(vae, data_of(GREY)), quote=True)
    page = browser.new_page(viewport={"width": 900, "height": 900})
    page.set_default_timeout(120_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.set_content(f'<iframe sandbox="allow-scripts" style="width:100%;height:860px" srcdoc="{inner}"></iframe>')
    inside = page.frames[1]
    inside.evaluate("explorer.ready.then(() => true)")
    box = inside.locator(".plane").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    frame(inside)
    assert inside.evaluate("origin") == "null"
    assert np.abs(np.array(shown(inside)[::3]) - levels_of(vae, [here(inside)])[0]).max() <= 1
    assert shown(inside, 1) != [0] * len(shown(inside, 1))
    page.close()
    assert not errors


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
