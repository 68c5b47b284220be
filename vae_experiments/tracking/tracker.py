"""One run's record in MLflow, which a server that goes away only delays."""

import json
import logging
import shlex
import uuid
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np
from mlflow.tracking.multimedia import compress_image_size
from numpy.typing import NDArray
from PIL import Image

from vae_experiments.data.prepare import ImageData
from vae_experiments.errors import InputError, RunFailed
from vae_experiments.models.vae import VAE
from vae_experiments.tracking import names
from vae_experiments.tracking.address import is_hidden, resolve_uri, shown, without_password
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.tracking.dataset import describe
from vae_experiments.tracking.delivery import Delivery
from vae_experiments.tracking.environment import capture
from vae_experiments.tracking.journal import (
    Ending,
    Entry,
    Journal,
    Kind,
    last_status,
    read_entries,
    read_start,
    writing,
)
from vae_experiments.tracking.models import halves, save_model, weights_digest
from vae_experiments.tracking.opening import StoreUnreachableError
from vae_experiments.tracking.registration import now, process_tags, register
from vae_experiments.tracking.steps import Steps
from vae_experiments.tracking.store import Store

ENVIRONMENT = "environment"  # the folder of what the run runs on

_log = logging.getLogger(__name__)


class Tracker:
    """One run's record. Everything is written to the run folder's journal first, and then sent.

    No `log_` method raises because of the store: what cannot be sent stays in the journal, is tried
    again at later calls, at `finish` and by `resume`, and the run gets the tag vae.tracking=delayed.
    They raise RunFailed when the run's own folder cannot be written, as on a full disk.
    What a resumed run logs again is logged once: of a metric's step, or a parameter, the first value stays.
    The caller holds the folder's RunLock from before `start` or `resume` until after `finish`.

    Attributes:
        run_id: of the MLflow run.
        uri: of its store, without a password.
    """

    def __init__(self, folder: Path, journal: Journal, delivery: Delivery, uri: str) -> None:
        """Use `start` or `resume`."""
        self.run_id: str = journal.start.data["run_id"]
        self.uri = shown(uri)
        self._folder = folder
        self._journal = journal
        self._delivery = delivery
        self._params: dict[str, str] = {}
        self._steps: defaultdict[str, Steps] = defaultdict(Steps)  # of each metric
        self._images: dict[tuple[str, int], str] = {}
        self._once: set[tuple[str, ...]] = set()  # datasets, models and the environment
        for entry in read_entries(folder):
            self._remember(entry)

    @classmethod
    def start(
        cls,
        config: TrackingConfig,
        *,
        run_name: str,
        folder: Path,
        tags: Mapping[str, object],
        parent_run_id: str | None = None,
    ) -> Self:
        """Begins a run: its MLflow run, its journal, and what it runs on.

        Raises:
            InputError: the store cannot be used, or `folder` already belongs to a run.
            RunFailed: `folder` cannot be written.
        """
        folder = folder.absolute()
        store = Store.open(config)
        journal = register(store, config, run_name=run_name, folder=folder, tags=tags, parent_run_id=parent_run_id)
        tracker = cls(folder, journal, Delivery(journal, folder, lambda: store, store=store), store.uri)
        tracker._log_environment()
        return tracker

    @classmethod
    def resume(cls, config: TrackingConfig, *, folder: Path) -> Self:
        """Takes up a run again: the same MLflow run, RUNNING, with whatever was not yet sent.

        A server that does not answer is no obstacle: the run goes on behind it.

        Raises:
            InputError: `folder` is no run's, or its store can never be used or has no such run.
            RunFailed: `folder` cannot be written.
        """
        tracker = cls.reopen(config, folder)
        tracker._write("status", status="RUNNING")
        tracker.set_tags(process_tags(tracker._folder))
        if (ENVIRONMENT,) not in tracker._once:
            tracker._log_environment()  # it was registered only
        return tracker

    @classmethod
    def deliver(cls, config: TrackingConfig, *, folder: Path, status: Ending) -> bool:
        """Sends what the ended run in `folder` has not sent yet; whether everything has arrived.

        Args:
            config: as the run has it, or with the address that its store has now.
            folder: the run's.
            status: how the run ended; recorded if its process was killed before it could do that.

        Raises:
            InputError: as `resume`.
        """
        tracker = cls.reopen(config, folder)
        return tracker._deliver() if last_status(folder) == status else tracker.finish(status)

    @classmethod
    def reopen(cls, config: TrackingConfig, folder: Path) -> Self:
        """The record of the run in `folder`, to add to it; how the run stands is left as it is.

        Raises:
            InputError: as `resume`.
        """
        folder = folder.absolute()
        start = read_start(folder)
        uri = recorded_uri(config, start)

        def reopen() -> Store:
            store = Store.open(config, uri, existing=True)
            if store.run(start.data["run_id"]) is None:
                raise InputError(
                    f"{folder}: its MLflow run {start.data['run_id']} is not in {shown(uri)} (any more): "
                    "restore it, or set tracking.uri to the store that has it"
                )
            return store

        try:
            store = reopen()
        except StoreUnreachableError:
            store = None
        journal = Journal(folder)
        return cls(folder, journal, Delivery(journal, folder, reopen, store=store), uri)

    def _log_environment(self) -> None:
        environment = self._folder / ENVIRONMENT
        with writing(environment):
            code = capture(environment)
        if code.commit:
            self.set_tags({"mlflow.source.git.commit": code.commit})
        for path in sorted(environment.iterdir()):
            self.log_artifact(path, ENVIRONMENT)

    def log_config(self, config: Mapping[str, object], path: Path) -> None:
        """Logs a composed config: every value as a parameter with a dotted key, without the store's password.

        Args:
            config: plain containers.
            path: its file, which is logged as it is: written `without_password`.
        """
        self.log_artifact(path)
        self.log_params(dict(names.flatten(without_password(config))))

    def log_params(self, params: Mapping[str, object]) -> None:
        """Logs settings. Values are cut at 6,000 characters."""
        clean = {
            names.key(name): names.text(
                value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False),
                names.MAX_PARAM,
            )
            for name, value in params.items()
        }
        changed = sorted(name for name in clean if self._params.get(name, clean[name]) != clean[name])
        if changed:
            _log.warning("MLflow keeps the first value of a parameter, here of %s", ", ".join(changed))
        new = {name: value for name, value in clean.items() if name not in self._params}
        if new:
            self._write("params", params=new)

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Logs one batch of values for one step (an epoch, from 1)."""
        clean = {names.key(name): float(value) for name, value in metrics.items()}
        new = {name: value for name, value in clean.items() if step not in self._steps[name]}
        if new:
            self._write("metrics", metrics=new, step=step)

    def set_tags(self, tags: Mapping[str, object]) -> None:
        """Sets tags; a later value replaces an earlier one."""
        self._write("tags", tags=names.clean_tags(tags))

    def log_artifact(self, path: Path, folder: str = "") -> None:
        """Logs a file, or a folder with what is in it, below `folder` of the run's artifacts.

        It is sent as it is when its turn comes, so it should not be removed before the run's end.
        """
        self._write("artifact", path=self._inside(path), folder=folder)

    def log_image(self, image: NDArray[np.uint8], key: str, step: int) -> None:
        """Logs a picture, [H, W] or [H, W, 3], as one step of the series `key`."""
        key = names.image_key(key)
        name = self._images.get((key, step))
        if name is None:  # the same picture logged again takes the place of the first
            unique = uuid.uuid5(uuid.NAMESPACE_URL, f"{self.run_id}/{key}/{step}")
            name = f"{key.replace('/', '~')}+step+{step}+timestamp+{now()}+{unique}"
        paths = [f"images/{name}.png", f"images/{name}+compressed.webp"]  # names that MLflow's browser reads
        picture = Image.fromarray(image)
        with writing(self._folder / "images"):
            (self._folder / "images").mkdir(exist_ok=True)
            picture.save(self._folder / paths[0])
            compress_image_size(picture).save(self._folder / paths[1])
        first = not self._images
        self._write("image", paths=paths, key=key, step=step, name=name)
        if first:
            self.set_tags({"mlflow.loggedImages": "True"})

    def log_dataset(self, data: ImageData, context: str = "training") -> None:
        """Logs what the run reads, and what for, as an input."""
        dataset = describe(data)
        if ("dataset", dataset["name"], dataset["digest"]) not in self._once:
            self._write("dataset", dataset=dataset, context=names.text(context, 500))

    def log_models(self, vae: VAE) -> None:
        """Logs the encoder (images to posterior means) and the decoder (latents to images) as MLflow models.

        `vae` is left as it is. The first call in a process takes some seconds, for torch.export's imports.
        """
        for name, (module, example) in halves(vae).items():
            digest = weights_digest(module)
            if ("model", name, digest) in self._once:
                continue
            path = self._folder / "models" / name
            save_model(module, example, path)
            self._write("model", name=name, path=self._inside(path), digest=digest)

    def finish(self, status: Ending) -> bool:
        """Ends the run; whether everything has arrived. If not, a warning names the command that sends it.

        Never raises because of a full disk: that has been said when it stopped the run.
        """
        try:
            self._write("status", status=status)
            return self._deliver()
        except RunFailed as error:
            _log.warning("the run's end is not on record: %s", error)
            return False

    def _deliver(self) -> bool:
        trouble = self._delivery.finish()
        if trouble:
            _log.warning(
                "MLflow at %s lacks a part of this run (%s): it is kept in %s, and `vae resume %s` sends it",
                self.uri,
                trouble,
                self._journal.path.name,
                shlex.quote(str(self._folder)),
            )
        return not trouble

    def _write(self, kind: Kind, **data: object) -> None:
        self._remember(self._journal.append(kind, now(), **data))
        self._delivery.send()

    def _remember(self, entry: Entry) -> None:
        data = entry.data
        match entry.kind:
            case "params":
                self._params |= data["params"]
            case "metrics":
                for name in data["metrics"]:
                    self._steps[name].add(data["step"])
            case "image":
                self._images[data["key"], data["step"]] = data["name"]
            case "artifact" if data["folder"] == ENVIRONMENT:
                self._once.add((ENVIRONMENT,))
            case "dataset":
                self._once.add(("dataset", data["dataset"]["name"], data["dataset"]["digest"]))
            case "model":
                self._once.add(("model", data["name"], data["digest"]))
            case _:
                pass

    def _inside(self, path: Path) -> str:
        """`path` relative to the run's folder where it lies in it, so that the folder can be moved."""
        path = path.absolute()
        return str(path.relative_to(self._folder) if path.is_relative_to(self._folder) else path)


def recorded_uri(config: TrackingConfig, start: Entry) -> str:
    """Where a run's store is now.

    In this order: tracking.uri, if it is not what the run was started with (the store has moved, or this
    is its whole address again); the recorded store, with the password that MLFLOW_TRACKING_URI has for it.
    """
    recorded: str = start.data["uri"]
    if config.uri:
        moved = shown(config.uri) != start.data["configured"]
        if moved or (is_hidden(recorded) and not is_hidden(config.uri)):
            return resolve_uri(config.uri)
    return resolve_uri(recorded) if is_hidden(recorded) else recorded
