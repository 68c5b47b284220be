"""Configs as `vae train` composes them."""

from collections.abc import Callable
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from support import BARE

from vae_experiments.config.hydra_app import to_plain
from vae_experiments.config.paths import conf_dir
from vae_experiments.config.resolvers import register_resolvers
from vae_experiments.sweeps.compose import ABOUT_THE_SWEEP

Composed = Callable[..., dict[str, Any]]


@pytest.fixture
def composed() -> Composed:
    """The plain config of a tiny run with these overrides."""
    register_resolvers()

    def make(*overrides: str) -> dict[str, Any]:
        with initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
            config = to_plain(compose("train", [*BARE, *overrides]))
        return {key: value for key, value in config.items() if key not in ABOUT_THE_SWEEP}

    return make
