"""A run's logged encoder and decoder in MLflow's model registry."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from mlflow.entities import LoggedModel
from mlflow.exceptions import MlflowException

from vae_experiments.errors import InputError
from vae_experiments.tracking.names import clean_tags
from vae_experiments.tracking.opening import one_line
from vae_experiments.tracking.store import RunRecord, Store

HALVES = {
    "encoder": "Images [N, C, H, W] in [0, 1] to their codes [N, latent_dim]: the means of q(z | x).",
    "decoder": "Latents [N, latent_dim] to the expected images [N, C, H, W], in [0, 1].",
}


@dataclass(frozen=True)
class Registered:
    """A version of a registered model; `new` unless it had been registered before."""

    name: str
    version: str
    new: bool


def register(
    store: Store, run: RunRecord, name: str, alias: str | None, tags: Mapping[str, object]
) -> list[Registered]:
    """Registers the run's encoder as NAME-encoder and its decoder as NAME-decoder; what is there already stays.

    Args:
        store: the run's.
        run: it.
        name: see `check_name`.
        alias: moved to these versions; see `check_alias`. None: no alias is touched.
        tags: set on both versions, beside the run's name and its best val/elbo.

    Raises:
        InputError: the run logged no models, or the store will not have it.
    """
    models = _logged(store, run)
    tags = {"run": run.name, **tags}
    if "best/val_elbo" in run.metrics:
        tags = {"best/val_elbo": f"{run.metrics['best/val_elbo']:.4f}", **tags}
    registered = []
    with one_line(store.uri):
        for half, described in HALVES.items():
            model = models[half]
            full = f"{name}-{half}"
            with suppress(MlflowException):  # it is there already; if it is for another reason, the next call says so
                store.client.create_registered_model(full, description=described)
            known = store.client.search_model_versions(f"name='{full}' AND run_id='{run.run_id}'")
            found = next((each for each in known if str(each.source).endswith(f"/{model.model_id}")), None)
            version = found or store.client.create_model_version(
                full, model.model_uri, run_id=run.run_id, model_id=model.model_id
            )
            for key, value in clean_tags(tags).items():
                store.client.set_model_version_tag(full, version.version, key, value)
            if alias is not None:
                store.client.set_registered_model_alias(full, alias, version.version)
            registered.append(Registered(full, str(version.version), found is None))
    return registered


def check_name(name: str) -> str:
    """`name` if MLflow takes it as a registered model's, and an address can hold it.

    Raises:
        InputError: it does not.
    """
    if not re.fullmatch(r"[\w\-. ]*[\w\-.]", name) or len(name) > 200:
        raise InputError(f"name={name}: letters, digits, '-', '_', '.' and blanks are meant, 200 at most")
    return name


def check_alias(alias: str) -> str:
    """`alias` if MLflow takes it, and it cannot be taken for a version.

    Raises:
        InputError: it does not.
    """
    if not re.fullmatch(r"[\w\-]{1,200}", alias, re.ASCII) or re.fullmatch(r"latest|v?\d+", alias, re.IGNORECASE):
        raise InputError(f"alias={alias}: letters, digits, '-' and '_' are meant, and neither 'latest' nor a version")
    return alias


def _logged(store: Store, run: RunRecord) -> dict[str, LoggedModel]:
    """The run's newest logged encoder and decoder: it has logged others where it was trained on."""
    with one_line(store.uri):
        found = store.client.search_logged_models(
            [run.experiment_id],
            filter_string=f"source_run_id = '{run.run_id}'",
            order_by=[{"field_name": "creation_timestamp", "ascending": True}],
        )
    models = {model.name: model for model in found if model.status == "READY"}
    if not set(HALVES) <= set(models):
        raise InputError(
            f"{run.name}: logged no models to register: it has not ended, was trained with hooks.models=null, or its "
            "log says why"
        )
    return models
