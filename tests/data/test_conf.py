from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from vae_experiments.data.source import Source
from vae_experiments.data.splits import Split

CONF = Path(__file__).parents[2] / "conf" / "dataset"
SPLITS = sorted(path.stem for path in CONF.glob("split/*.yaml"))


@pytest.mark.parametrize("path", sorted(CONF.rglob("*.yaml")), ids=lambda path: path.stem)
def test_a_file_names_every_key_that_its_class_takes_and_no_other(path: Path) -> None:
    config = yaml.safe_load(path.read_text())
    module, name = config.pop("_target_").rsplit(".", 1)
    target = getattr(import_module(module), name)

    is_split = path.parent.name == "split"
    for default in config.pop("defaults", []):
        assert default["split"] in SPLITS
        config["split"] = default["split"]
    assert issubclass(target, Split if is_split else Source)
    assert set(config) == {field.name for field in fields(target)}
    defaults = {field.name: field.default for field in fields(target)}
    if is_split:
        assert config == defaults  # the same whether it is written in YAML or in Python
