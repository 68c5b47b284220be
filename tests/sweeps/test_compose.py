"""Templates give what Hydra itself composes, whatever is swept."""

from itertools import product
from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from support import TINY

from vae_experiments.config.hydra_app import to_plain
from vae_experiments.config.paths import conf_dir
from vae_experiments.config.resolvers import register_resolvers
from vae_experiments.sweeps.compose import Templates, compose_templates
from vae_experiments.sweeps.overrides import part, values


def composed(*overrides: str) -> dict[str, Any]:
    config = to_plain(hydra.compose("train", [*overrides]))
    return {key: value for key, value in config.items() if key not in ("sweep", "plan")}


@pytest.fixture(autouse=True)
def _hydra() -> Any:
    register_resolvers()
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        yield


@pytest.mark.parametrize(
    "swept",
    [
        ["architecture.latent_dim=2,8", "optimizer.lr=1e-3,2e-3"],  # the schedule's max_lr follows lr
        ["architecture=conv,mlp", "architecture.latent_dim=3,4"],
        ["experiment=smoke,seed", "seed=range(2)"],
        ["+optimizer.weight_decay=0.0,0.1"],
        ["dataset/split=official,fractions", "trainer.clip_grad_norm=null,10"],
        ["scheduler=one_cycle,constant"],
        ["architecture.filters=[4,8],[8,16]"],
        ["+schedule@objective.kl_weight=linear_warmup,cyclical", "objective.kl_weight.end=1,4"],
    ],
)
def test_a_job_has_the_config_that_hydra_would_compose(swept: list[str]) -> None:
    fixed = ["seed=3", "architecture.batch_size=64"]
    loader = GlobalHydra.instance().config_loader()
    master = loader.load_configuration("train", [*fixed, *swept], run_mode=RunMode.MULTIRUN)
    typed = part(loader, {}, [*fixed, *swept])
    choices = {key: values(override) for key, override in typed.swept.items()}
    templates = compose_templates(loader, master, typed.fixed, {key: choices[key] for key in typed.groups}, typed.added)
    words = [[f"{word.partition('=')[0]}={text}" for text in _texts(loader, word)] for word in swept]
    for combination, spelled in zip(product(*choices.values()), product(*words), strict=True):
        fixed_now = [word for word in fixed if word.partition("=")[0] not in choices]
        assert templates.config(dict(zip(choices, combination, strict=True))) == composed(*fixed_now, *spelled)


def _texts(loader: Any, word: str) -> list[str]:
    (override,) = part(loader, {}, [word]).swept.values()
    return list(override.sweep_string_iterator())


def test_what_is_typed_wins_over_what_an_experiment_sweeps() -> None:
    loader = GlobalHydra.instance().config_loader()
    typed = part(loader, {"architecture.latent_dim": "2,4", "seed": "0,1"}, ["architecture.latent_dim=7", *TINY])
    assert list(typed.swept) == ["seed"]
    assert "architecture.latent_dim=7" in typed.fixed


def test_a_template_stays_as_it_was_when_a_file_is_edited(tmp_path: Path) -> None:
    group = tmp_path / "architecture"
    group.mkdir()
    (group / "mine.yaml").write_text("defaults: [conv]\ndense: 8\n")
    loader = GlobalHydra.instance().config_loader()
    master = loader.load_configuration("train", [f"hydra.searchpath=[file://{tmp_path}]"], run_mode=RunMode.MULTIRUN)
    made = compose_templates(loader, master, [], {"architecture": ["mine"]}, [])
    (group / "mine.yaml").write_text("defaults: [conv]\ndense: 99\n")
    again = Templates(made.groups, made.added, made.bases)
    config = again.config({"architecture": "mine", "architecture.latent_dim": 5})
    assert (config["architecture"]["dense"], config["architecture"]["latent_dim"]) == (8, 5)
