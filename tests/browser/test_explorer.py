"""The explorer in a real browser answers to pointer, finger and key, wherever it is opened."""

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exploring import GREY, at, data_of, frame, here, levels_of, page_of, shown, vae_of

from vae_experiments.figures.config import FiguresConfig
from vae_experiments.figures.subject import Subject
from vae_experiments.models.architectures import MLP, Conv
from vae_experiments.models.likelihoods import Bernoulli

sync_api = pytest.importorskip("playwright.sync_api")

HOSTILE = "</script><script>window.harmed = 1</script><img src=x onerror='window.harmed = 1'>"


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
