"""Stores in temporary folders. Creating a database takes seconds, so each test gets a copy of one."""

import shutil
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest

from vae_experiments.data.dataset import ImageDataset
from vae_experiments.data.prepare import ImageData
from vae_experiments.data.splits import Parts
from vae_experiments.lock import RunLock
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.tracking.store import Store


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("database") / "mlflow.db"
    Store.open(TrackingConfig(uri=f"sqlite:///{path}"))
    with closing(sqlite3.connect(path)) as database:  # all of it into the one file that is copied
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@pytest.fixture
def new_store(empty_database: Path) -> Callable[[Path], TrackingConfig]:
    def make(folder: Path) -> TrackingConfig:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(empty_database, folder / "mlflow.db")
        return TrackingConfig(uri=f"sqlite:///{folder}/mlflow.db")

    return make


@pytest.fixture
def config(
    new_store: Callable[[Path], TrackingConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> TrackingConfig:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    return new_store(tmp_path)


@pytest.fixture
def hold() -> Iterator[Callable[[Path], None]]:
    """Takes run folders' locks, as a process that trains has them."""
    with ExitStack() as stack:
        yield lambda folder: stack.enter_context(RunLock(folder)) and None


@pytest.fixture
def image_data() -> ImageData:
    images = np.arange(10 * 4 * 5, dtype=np.uint8).reshape(10, 1, 4, 5)
    dataset = ImageDataset("tiny", images, np.zeros(10, np.int64), {0: "zero"}, source="https://example.org/tiny")
    rows = np.arange(10)
    return ImageData(dataset, Parts(rows[:6], rows[6:9], rows[9:]), "none")


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
