"""Every `vae` command that the documentation shows can be typed: it composes, and its keys and values are good."""

import re
import shlex
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from vae_experiments.cli import VERBS
from vae_experiments.config.construct import construct
from vae_experiments.config.hydra_app import to_plain
from vae_experiments.config.paths import conf_dir
from vae_experiments.config.resolvers import register_resolvers
from vae_experiments.runs.config import RunConfig
from vae_experiments.sweeps.compose import ABOUT_THE_SWEEP

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(page: Path) -> list[str]:
    """The vae commands of a page: lines of its code blocks, and its inline code."""
    text = page.read_text()
    found = []
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if language in ("", "bash", "sh"):
            lines = re.sub(r"\\\n\s*", "", block).splitlines()
            found += [line.removeprefix("$ ") for line in lines if re.match(r"(\$ )?vae ", line)]
    inline = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    found += [" ".join(each.split()) for each in re.findall(r"`(vae [^`]+)`", inline)]
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_command_can_be_typed(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register_resolvers()
    wrong = []
    for line in commands(page):
        words = [word for word in shlex.split(line, comments=True)[1:] if word != "..."]
        if words[0].startswith("-") or "--help" in words:
            continue
        if "--config-dir" in words:  # classes and files of one's own, which test_examples makes and runs
            continue
        try:
            check(words[0], words[1:], monkeypatch)
        except Exception as error:  # of any kind: all are listed
            wrong.append(f"{line}: {error}")
    assert not wrong


def check(verb: str, words: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Does all that the verb does with its words before it begins its work."""
    assert verb in VERBS, verb
    module = import_module(f"vae_experiments.verbs.{verb}")

    def train(_: str, arguments: Sequence[str], task: object) -> None:
        plain = composed("train", arguments)
        RunConfig.of({key: value for key, value in plain.items() if key not in ABOUT_THE_SWEEP})

    def other(name: str, arguments: Sequence[str], schema: type, command: Callable[..., None]) -> None:
        construct(schema, composed(name, arguments))

    monkeypatch.setattr(module, *(("run_hydra", train) if verb == "train" else ("run_verb", other)))
    module.main(list(words))


def composed(verb: str, arguments: Sequence[str]) -> dict[str, Any]:
    """The config of a command, of a sweep that of one of its jobs."""
    overrides = [one_value(word) for word in arguments if word not in ("-m", "--cfg", "job")]
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        config = hydra.compose(config_name=verb, overrides=overrides, return_hydra_config=verb == "reproduce")
    if verb == "reproduce":  # whose config asks Hydra for a choice
        HydraConfig.instance().set_config(config)
        OmegaConf.set_struct(config, False)
        del config["hydra"]
    return to_plain(config)


def one_value(word: str) -> str:
    """An override as it is, of a swept key with one of its values."""
    override = OverridesParser.create().parse_override(word)
    if not override.is_sweep_override():
        return word
    key = override.get_key_element()
    if override.is_discrete_sweep():
        return f"{key}={next(iter(override.sweep_string_iterator()))}"
    return f"{key}={override.value().start}"  # an interval's


def test_a_key_that_does_not_exist_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Exception, match="latent_dims"):
        check("train", ["architecture.latent_dims=3"], monkeypatch)
    with pytest.raises(Exception, match=r"architecture\.latent_dim=0"):
        check("train", ["architecture.latent_dim=0"], monkeypatch)
    with pytest.raises(Exception, match="iw_sample"):
        check("evaluate", ["best", "evaluation.iw_sample=3"], monkeypatch)


def test_commands_are_found_on_the_pages() -> None:
    assert sum(len(commands(page)) for page in PAGES) > 50
