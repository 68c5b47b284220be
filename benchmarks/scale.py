"""How long people wait when there are many runs: composing, opening, finding, comparing.

    OMP_NUM_THREADS=1 python benchmarks/scale.py

Fills a store in a folder of its own with runs as `vae train -m` records them, in sweeps of 49 under a parent
each: their whole configs as parameters, ten epochs of 20 metrics. Then everything is timed as a command would
meet it, in a process that has not touched the store yet, the imports made; the better of two times counts.

Prints a Markdown table. Takes three to six minutes, half of them to fill the store; leaves nothing behind.
"""

import contextlib
import io
import itertools
import json
import math
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from mlflow.entities import Metric, Param

from vae_experiments.comparison.gather import DRAWN
from vae_experiments.comparison.pictures import draw
from vae_experiments.comparison.rows import ELBO, Compared, ranked, without_seed
from vae_experiments.comparison.screen import show
from vae_experiments.comparison.stored import whole_experiment, with_histories
from vae_experiments.comparison.table import run_table, summary_table
from vae_experiments.comparison.varied import varied_keys
from vae_experiments.config.paths import conf_dir
from vae_experiments.config.resolvers import register_resolvers
from vae_experiments.figures.style import save_png
from vae_experiments.runs.config import RunConfig
from vae_experiments.runs.plan import job_name
from vae_experiments.runs.reference import resolve
from vae_experiments.sweeps.compose import Draft, compose_templates, without_doubles
from vae_experiments.sweeps.overrides import combinations, part, values
from vae_experiments.tracking import names
from vae_experiments.tracking.config import TrackingConfig
from vae_experiments.tracking.registration import process_tags
from vae_experiments.tracking.store import Store
from vae_experiments.verbs.compare import ON_SCREEN

P = ParamSpec("P")
T = TypeVar("T")

DIM, WEIGHT, LR, GROUP = "architecture.latent_dim", "objective.kl_weight", "optimizer.lr", "architecture"
STORED = (10, 100, 1000)
JOBS = (10, 50, 200)
REPEATS = 2
SWEEP = 50  # stored runs, its parent among them
EPOCHS = 10
LIMIT = 50_000  # `vae compare` reads the newest thousand unless told


class Times(dict[str, float]):
    """Seconds by what took them."""

    def of(self, name: str, made: Callable[P, T], *arguments: P.args, **keywords: P.kwargs) -> T:
        """Calls `made`, adds what it took, and returns what it gave."""
        before = time.perf_counter()
        result = made(*arguments, **keywords)
        self[name] = self.get(name, 0.0) + time.perf_counter() - before
        return result


def drafts(arguments: Sequence[str]) -> list[Draft]:
    """The jobs of a sweep, composed as `vae train -m` composes them."""
    loader = GlobalHydra.instance().config_loader()
    master = loader.load_configuration("train", list(arguments), run_mode=RunMode.MULTIRUN)
    typed = part(loader, {}, arguments)
    swept = {key: values(override) for key, override in typed.swept.items()}
    groups = {key: [str(choice) for choice in swept[key]] for key in typed.groups}
    templates = compose_templates(loader, master, typed.fixed, groups, typed.added)
    return without_doubles(
        [Draft(job_name(varied), varied, templates.config(varied)) for varied in combinations(swept, [])]
    )[0]


def compose(jobs: int) -> float:
    """Seconds to compose a sweep of so many jobs, and to check every key of every one."""
    before = time.perf_counter()
    made = drafts([f"{DIM}=2,4,8,16,32", f"{WEIGHT}=1,4", f"seed=range({jobs // 10})"])
    for draft in made:
        RunConfig.of(draft.config)
    assert len(made) == jobs
    return time.perf_counter() - before


def history(job: int) -> list[dict[str, float]]:
    """An epoch's metrics, for each, by the names of those that `vae train` records."""
    rows = []
    for epoch in range(1, EPOCHS + 1):
        kl = 4.0 + math.log(1 + job % 7) + 0.1 * epoch
        parts = {"reconstruction": 160 - 3 * (job % 49) + 40 / epoch, "kl": kl}
        parts |= {"elbo": -parts["reconstruction"] - kl, "loss": parts["reconstruction"] + kl}
        row = {f"{half}/{name}": value for half in ("train", "val") for name, value in parts.items()}
        row |= {f"best/val_{name}": value for name, value in parts.items()} | {"best/epoch": float(epoch)}
        row |= {"time/epoch_seconds": 12.5, "time/images_per_second": 4000.0, "optimizer/lr": 1e-3}
        row |= {"objective/kl_weight": 1.0, "optimizer/grad_norm": 3.0}
        rows.append(row)
    return rows


def planned() -> Iterator[tuple[str, list[Draft]]]:
    """Sweeps without end, the later ones of other networks, learning rates and seeds."""
    for number in itertools.count():
        network, rate = ("conv", "mlp")[number % 2], (1e-3, 5e-4, 2e-3, 2e-4, 4e-3)[number // 2 % 5]
        swept = [f"{DIM}=2,3,4,8,16,32,64", f"{WEIGHT}=0.25,0.5,1,2,4,8,16"]
        yield f"sweep {number}", drafts([f"{GROUP}={network}", f"{LR}={rate}", f"seed={number // 10}", *swept])


def stored_runs(config: TrackingConfig) -> Iterator[str]:
    """Records runs without end; the id of each."""
    store = Store.open(config)
    experiment = store.experiment_id()
    folder = Path.cwd() / "multirun"
    for name, sweep in planned():
        tags = {key: str(value) for key, value in process_tags(folder / name).items()}
        parent = store.create_run(experiment, name, {**tags, names.KIND_TAG: "sweep"})
        yield parent
        for number, draft in enumerate(sweep):
            own = {**tags, names.FOLDER_TAG: str(folder / name / str(number)), names.KIND_TAG: "run"}
            own |= {names.KEY_TAG: f"{name}-{number}", "mlflow.parentRunId": parent, "mlflow.source.type": "LOCAL"}
            run_id = store.create_run(experiment, draft.name, own)
            flat = {**dict(names.flatten(draft.config)), "name": draft.name}
            params = [Param(key, value if isinstance(value, str) else json.dumps(value)) for key, value in flat.items()]
            metrics = [
                Metric(key, value, 1000 * epoch, epoch)
                for epoch, row in enumerate(history(number), start=1)
                for key, value in row.items()
            ]
            store.client.log_batch(run_id, metrics, params)
            store.client.set_terminated(run_id)
            yield run_id
        store.client.set_terminated(parent)


def tables(rows: Sequence[Compared], keys: Sequence[str]) -> None:
    """On screen and as files, the screen and the files left out."""
    with contextlib.redirect_stdout(io.StringIO()):
        for table in (run_table(rows, keys), summary_table(rows, keys)):
            if table is not None:
                show(table, ON_SCREEN)
                table.markdown()
                table.csv()


def look(config: TrackingConfig, run_id: str, out: Path) -> Times:
    """What `vae compare all sheet=false` does, part by part, and finding runs, in a process of its own."""
    import matplotlib.figure  # noqa: F401  imports are the command's start, not one of its parts
    import pandas  # noqa: F401

    times = Times()
    store = times.of("opening the store", Store.open, config)
    refs = {"latest": "`latest`", "sweep 0": "name", run_id: "id", run_id[:10]: "the start of its id"}
    for ref, by in refs.items():
        times.of(f"finding a run by {by}", resolve, ref, config, sweeps="too", store=store)
    rows = times.of("- reading the runs", whole_experiment, store, LIMIT)
    keys = [*times.of("- finding what varied", varied_keys, rows), "seed"]
    rows = ranked(rows, ELBO)
    drawn = times.of(f"- reading the best {DRAWN} histories", with_histories, store, rows[:DRAWN], ELBO)
    rows = ranked(drawn + rows[DRAWN:], ELBO)
    times.of("- the tables", tables, rows, keys)
    for name, picture in draw(rows, without_seed(keys), ELBO).items():
        figure = times.of("- the pictures", picture)
        times.of("- the pictures", save_png, figure, out / f"{name}.png")
    return times


def command(config: TrackingConfig) -> float:
    """Seconds of the whole command."""
    words = ["compare", "all", "sheet=false", f"limit={LIMIT}", f"tracking.uri={config.uri}"]
    before = time.perf_counter()
    subprocess.run([sys.executable, "-m", "vae_experiments", *words], check=True, capture_output=True)
    return time.perf_counter() - before


def best(measured: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The least of each: what else the machine does only adds."""
    return {name: min(each[name] for each in measured) for name in measured[0]}


def measure(config: TrackingConfig, run_id: str) -> dict[str, float]:
    """Every time with the runs that are stored now."""
    context = multiprocessing.get_context("spawn")
    found = []
    for _ in range(REPEATS):
        with context.Pool(1) as pool:
            times = pool.apply(look, (config, run_id, Path.cwd()))
        found.append({**times, "`vae compare all sheet=false`": command(config)})
    return best(found)


def shown(seconds: float) -> str:
    """Milliseconds below a second."""
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


def print_table(stored: Mapping[int, Mapping[str, float]], composed: Mapping[int, float]) -> None:
    """One table of two parts: composing knows nothing of stored runs, and has numbers of jobs instead."""
    print(f"| **runs in the store:** | {' | '.join(f'{count:,}' for count in stored)} |")
    print(f"|---|{'---:|' * len(stored)}")
    columns = list(stored.values())
    parts = [name for name in columns[0] if name.startswith("- ")]
    others = [name for name in columns[0] if name not in parts]
    for name in (*others, *parts):
        print(f"| {name} | {' | '.join(shown(column[name]) for column in columns)} |")
    print(f"| **composing and checking, jobs:** | {' | '.join(map(str, composed))} |")
    print(f"| the sweep | {' | '.join(map(shown, composed.values()))} |")
    print(f"| each job | {' | '.join(shown(seconds / jobs) for jobs, seconds in composed.items())} |")


def main() -> None:
    """Fills the store step by step, and prints the table."""
    register_resolvers()
    with (
        tempfile.TemporaryDirectory(prefix="vae-scale-") as made,
        contextlib.chdir(made),
        hydra.initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())),
    ):
        config = TrackingConfig(uri=f"sqlite:///{made}/mlflow.db")
        composed = {jobs: min(compose(jobs) for _ in range(REPEATS)) for jobs in JOBS}
        runs, newest, done = stored_runs(config), "", 0
        stored = {}
        for count in STORED:
            before = time.perf_counter()
            *_, newest = itertools.islice(runs, count - done)
            done = count
            print(f"{count} runs stored after {time.perf_counter() - before:.0f} s more", file=sys.stderr)
            stored[count] = measure(config, newest)
        print_table(stored, composed)


if __name__ == "__main__":
    main()
