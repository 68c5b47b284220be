"""The store that a run is recorded in."""

from vae_experiments.errors import InputError
from vae_experiments.runs.reference import Reference
from vae_experiments.tracking.address import shown, sqlite_path
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.tracking.journal import is_tracked, read_start
from vae_experiments.tracking.store import Store
from vae_experiments.tracking.tracker import recorded_uri


def store_of(run: Reference, config: TrackingConfig) -> Store | None:
    """The open store that has the run; None where nothing is to be recorded.

    A run that was named by its folder need not be in the store of the working directory.
    """
    if run.run_id is None or not config.enabled:
        return None
    uri = None
    if run.folder is not None and is_tracked(run.folder):
        uri = recorded_uri(config, read_start(run.folder))
        database = sqlite_path(uri)
        if database is not None and not database.exists():
            uri = None  # moved together with the run: it is where the others are now
    store = Store.open(config, uri)
    if store.run(run.run_id) is None:
        raise InputError(
            f"run {run.run_id} is not in {shown(store.uri)} (any more): set tracking.uri to the store "
            "that has it, or use tracking=off"
        )
    return store
