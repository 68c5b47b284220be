"""Hydra's door to sweeps: what `vae train -m` runs. Hydra finds plugins in this namespace package only.

Hydra imports this at every command: nothing heavy here.
"""

from collections.abc import Mapping
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


def warm_up() -> None:
    """Lets the process that jobs are forked from begin to import, while this one composes and checks."""
    from vae_experiments.sweeps.executors.local import warm_up

    warm_up()


class GridSweeper(Sweeper):
    """Every combination of the swept values.

    Args:
        params: swept keys and their values, as they would be typed; what is typed wins over them.
    """

    def __init__(self, params: Mapping[str, str] | None = None) -> None:
        self._params = params or {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self._loader: ConfigLoader = hydra_context.config_loader
        self._config = config

    def sweep(self, arguments: list[str]) -> Any:
        warm_up()
        from vae_experiments.sweeps.start import Command, start_grid

        start_grid(Command(self._loader, self._config, self._params, arguments))


class OptunaSweeper(Sweeper):
    """A search over a space of values.

    Args:
        params: swept keys and their spaces, as they would be typed; what is typed wins over them.
        keys: the others of conf/hydra/sweeper/optuna.yaml.
    """

    def __init__(self, params: Mapping[str, str] | None = None, **keys: Any) -> None:
        self._params = params or {}
        self._keys = keys

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self._loader: ConfigLoader = hydra_context.config_loader
        self._config = config

    def sweep(self, arguments: list[str]) -> Any:
        warm_up()
        from vae_experiments.sweeps.start import Command, start_search

        start_search(Command(self._loader, self._config, self._params, arguments), self._keys)
