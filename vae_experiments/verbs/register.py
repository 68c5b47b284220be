"""vae register: a run's encoder and decoder into MLflow's model registry."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from vae_experiments.config.verb import ref_first, run_verb
from vae_experiments.errors import InputError
from vae_experiments.tracking.config import TrackingConfig

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RegisterConfig:
    """The keys of conf/register.yaml.

    Args:
        run: REF of the run.
        name: the models become NAME-encoder and NAME-decoder; None for the name of the run's experiment.
        alias: a name for these versions, taken from those that have it now.
        tags: of the versions, beside those that they have anyway.
        tracking: the store that has the run.
    """

    run: str = "latest"
    name: str | None = None
    alias: str | None = None
    tags: dict[str, str | int | float | bool] | None = None
    tracking: TrackingConfig = field(default_factory=TrackingConfig)


def main(arguments: Sequence[str]) -> None:
    """Runs the verb; see `vae register --help`."""
    run_verb("register", ref_first(arguments, RegisterConfig), RegisterConfig, register)


def register(config: RegisterConfig) -> None:
    """Registers both models and prints their addresses.

    Raises:
        InputError: no such run, one that MLflow does not know or that logged no models, a name or alias that MLflow
            does not take, or a store that cannot be reached.
    """
    from vae_experiments.runs.reference import resolve
    from vae_experiments.runs.stored import store_of
    from vae_experiments.use.registry import check_alias, check_name, register

    name = check_name(config.name) if config.name is not None else None
    alias = check_alias(config.alias) if config.alias is not None else None
    reference = resolve(config.run, config.tracking)
    store = store_of(reference, config.tracking)
    run = store.run(reference.run_id) if store is not None and reference.run_id is not None else None
    if store is None or run is None:
        raise InputError(f"{config.run}: MLflow does not know this run: only what was tracked can be registered")
    if name is None:
        name = check_name(re.sub(r"[^\w\-.]+", "-", store.experiment_name(run.experiment_id)).strip("-") or "vae")
    for model in register(store, run, name, alias, config.tags or {}):
        address = f"models:/{model.name}{f'@{alias}' if alias else f'/{model.version}'}"
        print(f"{address}  version {model.version}{'' if model.new else ', registered before'}")
