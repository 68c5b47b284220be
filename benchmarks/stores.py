"""How many runs at once each store bears: epochs recorded a second, and how long a run waits for it.

    python benchmarks/stores.py [--server http://host:port] [--writers 1 2 4 8 16] [--epochs 20]

Each writer is a process with a run of its own that records epochs back to back, as no training does: 20 metrics
in one batch and a small picture, through the same code as `vae train`. Jobs that take s seconds an epoch ask for
1/s epochs a second each, so a store that records e epochs a second is full with about e * s of them.

Prints a Markdown table. "waits" is the time that one epoch's record takes, median and worst; "late" counts writers
whose record had not arrived at the end. The server's runs stay in its experiment "stores-benchmark".
"""

import argparse
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from vae_experiments.lock import RunLock
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.tracking.store import Store
from vae_experiments.tracking.tracker import Tracker

METRICS = [f"{part}/{name}" for part in ("train", "val", "test", "best") for name in "abcde"]
PATIENCE = 300  # seconds for all writers to import MLflow and begin


def write(config: TrackingConfig, folder: Path, epochs: int, ready: Barrier) -> tuple[list[float], float, float, bool]:
    """One writer.

    Returns:
        Seconds that each epoch's record took, when the first began and the last ended, and whether all arrived.
    """
    with RunLock(folder):
        tracker = Tracker.start(config, run_name=folder.name, folder=folder, tags={})
        picture = folder / "manifold.png"
        noise = np.random.default_rng(0).integers(0, 256, (140, 140), dtype=np.uint8)
        Image.fromarray(noise).save(picture)  # 20 kB, as a manifold of 20 x 20 digits has
        ready.wait(PATIENCE)
        begin, seconds = time.time(), []
        for epoch in range(1, epochs + 1):
            before = time.perf_counter()
            tracker.log_metrics(dict.fromkeys(METRICS, 1.0 / epoch), epoch)
            tracker.log_artifact(picture, f"figures/{epoch}")
            seconds.append(time.perf_counter() - before)
        end = time.time()
        return seconds, begin, end, tracker.finish("FINISHED")


def measure(config: TrackingConfig, writers: int, epochs: int, folder: Path) -> str:
    """One row of the table, without the store's name."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(writers) as pool:
        ready = manager.Barrier(writers)
        tasks = [(config, folder / f"writer-{writers}-{i}", epochs, ready) for i in range(writers)]
        results = pool.starmap(write, tasks, chunksize=1)
    waits = [second for seconds, *_ in results for second in seconds]
    wall = max(end for *_, end, _ in results) - min(begin for _, begin, *_ in results)
    late = sum(not arrived for *_, arrived in results)
    median, worst = 1000 * statistics.median(waits), 1000 * max(waits)
    return f"{writers} | {writers * epochs / wall:.1f} | {median:.0f} | {worst:.0f} | {late}"


def machine() -> str:
    """What the figures were taken on."""
    memory = psutil.virtual_memory().total / 1024**3
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores ({platform.machine()}), {memory:.0f} GiB; load before the start: {load:.1f}"


def main() -> None:
    """Reads the command line and prints the table, row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", help="address of an MLflow server, to measure beside the sqlite default")
    parser.add_argument("--writers", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--epochs", type=int, default=20, help="of each writer")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vae-stores-", ignore_cleanup_errors=True) as made:
        os.chdir(made)
        stores = {"sqlite": f"sqlite:///{made}/mlflow.db"} | ({"server": arguments.server} if arguments.server else {})
        print(f"{machine()}; {arguments.epochs} epochs a writer\n")
        print("| store | writers | epochs/s | waits, median ms | waits, worst ms | late |")
        print("|---|---|---|---|---|---|")
        for name, uri in stores.items():
            config = TrackingConfig(uri=uri, experiment="stores-benchmark")
            Store.open(config).experiment_id()  # made once, so that no writer's time has it
            for writers in arguments.writers:
                row = measure(config, writers, arguments.epochs, Path(made) / name)
                print(f"| {name} | {row} |", flush=True)


if __name__ == "__main__":
    main()
