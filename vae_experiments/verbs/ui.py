"""vae ui: MLflow's pages over the runs, opened on the right view."""

import logging
import os
import re
import sys
import tempfile
import webbrowser
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Le

from vae_experiments.config.verb import run_verb
from vae_experiments.errors import InputError, RunFailed
from vae_experiments.tracking.address import resolve_uri, shown, sqlite_path
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.tracking.noted import noted, open_at
from vae_experiments.tracking.serving import free_port, in_address, is_loopback, serve

if TYPE_CHECKING:
    from vae_experiments.tracking.store import RunRecord, Store

log = logging.getLogger(__name__)

_COMPARED = 200  # runs that are looked through for what varied among them, the newest ones
_MOST_VARIED = 8  # columns; more are too many to be read side by side


@dataclass(frozen=True, kw_only=True)
class UiConfig:
    """The keys of conf/ui.yaml.

    Args:
        host: the address to serve on; 127.0.0.1 is for this machine alone.
        port: the first one to try; the next free one is taken when it is not.
        browser: whether to open a browser; None does where a person sits at a terminal.
        tracking: the store to show.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Ge(1), Le(65535)] = 5000
    browser: bool | None = None
    tracking: TrackingConfig = field(default_factory=TrackingConfig)


def main(arguments: Sequence[str]) -> None:
    """Runs the verb; see `vae ui --help`."""
    run_verb("ui", arguments, UiConfig, ui)


def ui(config: UiConfig) -> None:
    """Serves MLflow's pages until Ctrl-C; where a server has them already, only says where they are.

    Raises:
        InputError: the store is not there, or it, the address or the ports cannot be used.
        RunFailed: the server ended by itself.
    """
    from vae_experiments.tracking.store import Store

    _refuse_missing(config.tracking)
    store = Store.open(config.tracking)
    page = opening_page(store)
    if store.uri.startswith(("http://", "https://")):
        _show(re.sub("//[^/]*@", "//", store.uri) + page, config.browser)  # the browser asks for the password
        return
    opened = _open_at(store)
    if opened is not None and is_loopback(config.host):
        log.info("a vae ui is open on it already")
        _show(opened + page, config.browser)
        return
    if not is_loopback(config.host):
        log.warning("host=%s: whoever reaches this machine can see, change and delete the runs", config.host)
    port = free_port(config.host, config.port)
    if port != config.port:
        log.info("port %d is taken: using %d", config.port, port)
    with tempfile.TemporaryFile() as said, serve(store.uri, config.host, port, said) as server:
        base = f"http://{in_address(config.host)}:{port}"
        if server.wait_until_ready(base):
            with nullcontext() if opened else noted(store.uri, base):  # that note stays true for longer
                _show(base + page, config.browser)
                log.info("Ctrl-C stops it")
                server.wait()
        if not server.stopped:
            said.seek(0)
            lines = said.read().decode("utf-8", "replace").strip().splitlines()
            raise RunFailed(f"the MLflow server ended by itself: {lines[-1] if lines else 'it said nothing'}")


def _refuse_missing(tracking: TrackingConfig) -> None:
    """Lets nothing be made where a database is named that is not there, by mistake as like as not."""
    given = tracking.uri or os.environ.get("MLFLOW_TRACKING_URI")
    path = sqlite_path(resolve_uri(tracking.uri))
    if given and path is not None and not path.exists():
        where = "tracking.uri" if tracking.uri else "MLFLOW_TRACKING_URI"
        raise InputError(
            f"{where}={given}: no runs there yet: {path} does not exist; vae train makes it, if it is meant"
        )


def opening_page(store: "Store") -> str:
    """Where MLflow's pages are opened: on the last sweep's runs; without a sweep on all runs, if there are any.

    Raises:
        InputError: the store cannot be reached.
    """
    from vae_experiments.tracking.names import KIND_TAG
    from vae_experiments.tracking.views import Shown, experiment_page, saved_page

    experiment = store.experiment_id()
    for sweep in store.runs(f"tags.`{KIND_TAG}` = 'sweep'", limit=1):
        if runs := store.runs(f"tags.`mlflow.parentRunId` = '{sweep.run_id}'", limit=_COMPARED):
            return saved_page(store, Shown(experiment, sweep.run_id, _varied(runs), _pictured(runs)))
    if runs := store.runs(f"tags.`{KIND_TAG}` = 'run'", limit=_COMPARED):
        return saved_page(store, Shown(experiment, None, _varied(runs), _pictured(runs)))
    log.warning("no runs of the experiment %s in %s yet: vae train makes one", store.experiment, shown(store.uri))
    return experiment_page(experiment)


def _open_at(store: "Store") -> str | None:
    """The address at which another `vae ui` has the store open."""
    experiment = store.client.get_experiment(store.experiment_id())
    return open_at(store.uri, experiment.experiment_id, experiment.creation_time)


def _varied(runs: Sequence["RunRecord"]) -> list[str]:
    """The parameters in which the runs differ, as MLflow names them."""
    from vae_experiments.comparison.stored import stored_row
    from vae_experiments.comparison.varied import varied_keys

    rows = [stored_row(run) for run in runs if run.params]
    known = {name for run in runs for name in run.params}
    keys = [*varied_keys(rows), *(["seed"] if len({row.seed for row in rows}) > 1 else [])]
    return [key if key in known else f"{key}._target_" for key in keys][:_MOST_VARIED]


def _pictured(runs: Sequence["RunRecord"]) -> int:
    """The last epoch of whose manifold most of the runs have an image, all of them if that can be; 0 for none."""
    counts = Counter(step for run in runs for step in _image_steps(run))
    return max(counts, key=lambda step: (counts[step], step), default=0)


def _image_steps(run: "RunRecord") -> set[int]:
    """The epochs of which the run has an image of the manifold: 1, 2, 4, 8, ..., and the last once it is finished."""
    if run.params.get("figures.epoch_manifold_size") == "0":
        return set()
    steps = {2**power for power in range(run.epoch.bit_length())}
    return steps | {run.epoch} if run.epoch and run.status == "FINISHED" else steps


def _show(link: str, browser: bool | None) -> None:
    print(link, flush=True)
    if browser or (browser is None and sys.stdout.isatty()):
        webbrowser.open(link)
