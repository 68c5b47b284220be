"""Every link of the documentation leads somewhere."""

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for target in links(page):
        if re.match(r"[a-z]+:", target):
            assert target.startswith("https://"), target
            continue
        where, _, anchor = target.partition("#")
        path = (page.parent / where).resolve() if where else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(target)
    assert not broken


def test_every_page_is_reached_from_the_index() -> None:
    reached, waiting = set(), [ROOT / "docs" / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        paths = ((page.parent / target.partition("#")[0]).resolve() for target in links(page) if ":" not in target)
        waiting += [path for path in paths if path.suffix == ".md" and path.exists()]
    assert {path for path in PAGES if path != ROOT / "README.md"} <= reached


def test_every_picture_is_shown_somewhere() -> None:
    shown = {(page.parent / target).resolve() for page in PAGES for target in links(page)}
    assert {path for path in (ROOT / "docs" / "pictures").iterdir() if path.is_file()} <= shown


def test_every_page_that_code_and_configs_name_exists() -> None:
    files = [*ROOT.glob("conf/**/*.yaml"), *ROOT.glob("vae_experiments/**/*.py"), ROOT / "Makefile"]
    named = {found for file in files for found in re.findall(r"docs/[\w/-]+\.md", file.read_text())}
    named -= {"docs/tables/TABLE.md"}  # a placeholder
    assert named
    assert not [page for page in named if not (ROOT / page).exists()]


@cache
def links(page: Path) -> tuple[str, ...]:
    """What a page's links and pictures lead to; code is not looked at."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    return tuple(re.findall(r"\]\(([^)\s]+)\)", text))


@cache
def anchors(page: Path) -> frozenset[str]:
    """What the headings of a page can be linked by, as code hosts make anchors out of them."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings)
