"""A real browser before real pages: MLflow's, served by `vae ui` over runs that `vae train` made.

Only `make test-browser` (pytest tests/browser) collects these tests: they need chromium, which setup.sh beside this
file installs, and Playwright, which the extra `browser` brings. SCREENSHOTS=folder keeps a picture of every page that
a test looks at.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browsing import Lab, serving
from support import TINY, only_folder, run_process

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PATIENCE = 240  # seconds: a page of MLflow's is megabytes of scripts, and a small machine may be busy
WIDTH = 1400  # pixels
SWEPT = ("architecture.latent_dim=2,8", "objective.kl_weight=1,4")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    named = any("browser" in Path(argument.partition("::")[0]).parts for argument in config.args)
    return None if named else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.timeout(3 * PATIENCE))


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    folder = tmp_path_factory.mktemp("lab")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        small = [word for word in TINY if not word.startswith(("dataset", "architecture"))]  # enough to be looked at
        for words in (
            ("train", *small, "name=alone", "architecture.latent_dim=3"),
            ("evaluate", "latest", "evaluation.what=[bound]"),
            ("train", "-m", *small, *SWEPT, "sweep.estimate=false", "trainer.max_epochs=3"),
        ):
            ended = run_process(*words)
            assert ended.status == 0, ended.err
        return Lab(folder, only_folder().absolute(), only_folder("multirun").absolute())


@pytest.fixture(scope="session")
def link(lab: Lab) -> Iterator[str]:
    with serving(lab.folder) as address:
        yield address


@pytest.fixture(scope="session")
def base(link: str) -> str:
    """The server's address alone."""
    match = re.match(r"http://[^/]+", link)
    assert match is not None, link
    return match[0]


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    assert path is not None, "no chromium on the PATH: sh tests/browser/setup.sh"
    with sync_playwright() as playwright:
        # Its own sandbox cannot be had as root; nothing but our own pages is opened.
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"] if os.getuid() == 0 else [])
        yield chromium
        chromium.close()


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


@pytest.fixture
def page(browser: "Browser") -> Iterator["Page"]:
    """A visitor who comes for the first time, but for the assistant, which would take a quarter of the page."""
    context = browser.new_context(viewport={"width": WIDTH, "height": 1000})
    context.add_init_script("localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')")
    opened = context.new_page()
    opened.set_default_timeout(1000 * PATIENCE)
    yield opened
    context.close()


@pytest.fixture
def keep(page: "Page") -> Callable[[str], None]:
    """Keeps a picture of the page where SCREENSHOTS says so."""

    def save(name: str) -> None:
        if folder := os.environ.get("SCREENSHOTS"):
            page.wait_for_timeout(1500)  # for what fades in
            page.screenshot(path=Path(folder) / f"{name}.png")

    return save
