"""docs/keys.md holds every key there is, as it is now."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from annotated_types import Ge, Lt
from keys_page.files import comments_of, header_of
from keys_page.page import page as written
from keys_page.signatures import documented, takes
from omegaconf import OmegaConf

from vae_experiments.config.paths import conf_dir
from vae_experiments.objectives import IWAE, Weight

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def page() -> str:
    return (ROOT / "docs" / "keys.md").read_text()


def test_the_page_is_fresh(page: str) -> None:
    assert page == written(), "docs/keys.md is stale: make docs"


def test_every_key_that_a_file_sets_is_on_the_page(page: str) -> None:
    told = set(re.findall(r"`\+?([a-zA-Z_][\w./]*?)(?:=[^`]*)?`", page))
    files = [path for path in conf_dir().rglob("*.yaml") if path.relative_to(conf_dir()).parts[0] not in EXEMPT]
    missing = {f"{path.stem}: {key}" for path in files for key in keys_of(path) if key not in told}
    assert not missing


# Experiments and tables set keys of other files, and Hydra's own settings are no choices of a person's.
EXEMPT = ("experiment", "table", "hydra")


def keys_of(path: Path) -> list[str]:
    """The full names of the keys that a file of conf/ sets itself, sections left out."""
    text = path.read_text()
    section = path.parent.relative_to(conf_dir()).as_posix().replace("/", ".")
    config: dict[str, Any] = yaml.safe_load(text) or {}
    config.pop("defaults", None)
    if path.parent == conf_dir() or "@package _global_" in text:
        section = ""
        config.pop("hydra", None)
    keys = leaves(config, section)
    return [key for key in keys if key not in ("scheduler", "schedule", "teacher") and not key.startswith("posterior.")]


def leaves(node: dict[str, Any], above: str) -> list[str]:
    found = []
    for key, value in node.items():
        path = f"{above}.{key}" if above else str(key)
        if key == "_target_":
            continue
        if isinstance(value, dict) and value and above.split(".")[0] != "objective":  # a schedule stands for one key
            found += leaves(value, path)
        else:
            found.append(path)
    return found


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (Annotated[int, Ge(1)] | None, "a whole number, at least 1, or null"),
        (Annotated[float, Ge(0), Lt(1)], "a number, at least 0, below 1"),
        (list[Annotated[int, Ge(1)]], "a list of whole numbers, at least 1"),
        (Literal["a", "b"], "`a`, `b`"),
        (Weight, "a number, at least 0, or a [schedule](#schedule)"),
        (bool, "true or false"),
    ],
)
def test_a_type_reads_as_people_say_it(annotation: object, words: str) -> None:
    assert takes(annotation) == words


def test_a_docstring_says_what_each_argument_of_a_class_and_of_its_bases_is() -> None:
    said = documented(IWAE)
    assert said["samples"].startswith("latents per image, k.")
    assert "\n" not in said["estimator"]


def test_a_comment_belongs_to_its_key(tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    path.write_text(
        "# The header.\n_target_: some.Thing\n# Before it.\nrate: [1, 2]  # beside it\ninner:\n  a: 1 # deep\n"
    )
    assert comments_of(path, "thing") == {"thing.rate": "Before it; beside it", "thing.inner.a": "deep"}
    assert header_of(path) == "The header."
    assert OmegaConf.load(path)["rate"] == [1, 2]
