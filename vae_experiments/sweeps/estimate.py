"""What a job will cost, from a few of its training steps, timed in a process of its own."""

import json
import logging
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vae_experiments.data.batches import epoch_order
from vae_experiments.data.prepare import ImageData, prepare
from vae_experiments.errors import InputError, RunFailed
from vae_experiments.figures.hooks import Gallery
from vae_experiments.models.build import build_vae
from vae_experiments.models.vae import VAE
from vae_experiments.runs.assemble import assemble
from vae_experiments.runs.config import RunConfig
from vae_experiments.runs.folder import RunFolder
from vae_experiments.sweeps.child import in_child, one_line
from vae_experiments.sweeps.cost import Cost, Extent, Sample
from vae_experiments.training.loop import build_step, train_step
from vae_experiments.training.optimization import build_optimizer, build_scheduler
from vae_experiments.training.run import TrainingRun
from vae_experiments.training.validation import Validation
from vae_experiments.training.world import World

__all__ = ["Cost", "estimate_plan", "measure", "measure_in_child"]

log = logging.getLogger(__name__)

WARM_UP = 2  # steps that are not counted: kernels are chosen, optimizer state is made
TIMED_SECONDS = 0.5
PATIENCE_SECONDS = 5.0  # after which even a warm-up step counts
MOST_GROUPS = 4  # measured; the rest lies between them


def measure(config: Mapping[str, Any]) -> Cost:
    """Assembles the run and times a few steps of it, here; nothing is written but a dataset's own cache.

    The memory is that of this whole process so far: `measure_in_child` gives it a fresh one.

    Args:
        config: composed.

    Raises:
        InputError: as `assemble`.
        RunFailed: a loss that is not finite.
    """
    extent, sample = take_sample(config)
    return sample.cost(extent)


def measure_in_child(config: Mapping[str, Any], threads: int | None, cwd: Path, timeout: float | None = None) -> Cost:
    """The same in a process of its own, whose memory is the job's alone.

    Args:
        config: composed.
        threads: that the job will have, where its config leaves them open.
        cwd: the working directory that relative paths mean.
        timeout: seconds.

    Raises:
        InputError: the job cannot work.
        RunFailed: it was tried and failed, out of memory for one.
        TimeoutError: it took too long to tell.
    """
    extent, sample = _sample_in_child(config, threads, cwd, timeout)
    return sample.cost(extent)


def _sample_in_child(
    config: Mapping[str, Any], threads: int | None, cwd: Path, timeout: float | None
) -> tuple[Extent, Sample]:
    trainer = dict(config["trainer"])
    if trainer.get("threads") is None:
        trainer["threads"] = threads
    return in_child(take_sample, dict(config) | {"trainer": trainer}, cwd=cwd, timeout=timeout)


def take_sample(config: Mapping[str, Any]) -> tuple[Extent, Sample]:
    """See `measure`."""
    typed = RunConfig.of(config)
    run = assemble(replace(typed, hooks={}), dict(config), RunFolder(Path()), World())
    run.state.scheduler = None  # it may not be advanced beyond the run's length
    extent = _extent(typed, run.data, run.state.vae, run.steps / run.steps_per_epoch)
    return extent, Sample(_time_steps(run), _time_validation(run), _peak_bytes())


def survey(configs: Sequence[Mapping[str, Any]]) -> list[Extent]:
    """Counts every job's parameters and images, and with that tries whether its parts fit together.

    Models are built without memory for their weights where their code allows it.

    Raises:
        InputError: naming the first job, from 0, that cannot work.
        RunFailed: likewise, for a reason that is not the user's.
    """
    data: dict[str, ImageData] = {}
    models: dict[str, VAE] = {}
    known: dict[str, Extent] = {}  # repeats differ in nothing that is looked at here
    extents: list[Extent] = []
    for number, config in enumerate(configs):
        key = _key({name: value for name, value in config.items() if name not in ("seed", "name")})
        try:
            if key not in known:
                known[key] = _try_on(config, data, models)
        except (InputError, RunFailed) as error:
            raise type(error)(f"job {number}: {error}") from error
        except Exception as error:
            raise RunFailed(f"job {number}: {one_line(error)}") from error
        extents.append(known[key])
    return extents


def estimate_plan(
    configs: Sequence[Mapping[str, Any]], threads: int | None, cwd: Path, budget: float = 10.0
) -> list[Cost | None]:
    """What each job of a sweep costs; a few are measured, the others lie between them.

    Args:
        configs: composed, one a job.
        threads: that a job will have, where its config leaves them open.
        cwd: the working directory that relative paths mean.
        budget: seconds for measuring; what is not known by then is None.

    Raises:
        InputError: a job cannot work; the message begins with its number.
        RunFailed: likewise, for a reason that is not the user's.
    """
    extents = in_child(survey, configs, cwd=cwd, timeout=None)
    keys = [(_same_cost(config), extent.draws) for config, extent in zip(configs, extents, strict=True)]
    first = {key: number for number, key in reversed(list(enumerate(keys)))}
    groups = sorted(first.values(), key=lambda number: (extents[number].work, number))
    samples: dict[int, Sample] = {}
    end = time.monotonic() + budget
    for number in _spread(groups):
        try:
            samples[number] = _sample_in_child(configs[number], threads, cwd, end - time.monotonic())[1]
        except TimeoutError:
            log.info("no time to measure every kind of job: the plan leaves some figures out")
            break
        except RunFailed as failure:
            log.warning("job %d could not be measured: %s", number, failure)
        except InputError as error:
            raise InputError(f"job {number}: {error}") from error
    points = sorted(((extents[number].work, sample) for number, sample in samples.items()), key=lambda point: point[0])
    return [
        samples[first[key]].cost(extent) if first[key] in samples else _between(extent, points)
        for extent, key in zip(extents, keys, strict=True)
    ]


def _between(extent: Extent, points: Sequence[tuple[int, Sample]]) -> Cost | None:
    """Between the samples of less and of more work; None where there are none on both sides."""
    if not points or not points[0][0] <= extent.work <= points[-1][0]:
        return None
    works = [work for work, _ in points]
    figures = zip(*(astuple(sample) for _, sample in points), strict=True)
    return Sample(*(float(np.interp(extent.work, works, each)) for each in figures)).cost(extent, approximate=True)


def _spread(groups: Sequence[int]) -> list[int]:
    """At most four of them: the largest, the smallest, and two between."""
    last = len(groups) - 1
    places = [round(i * last / (MOST_GROUPS - 1)) for i in (3, 0, 2, 1)]
    return [groups[place] for place in dict.fromkeys(places)]


def _same_cost(config: Mapping[str, Any]) -> str:
    """Equal for configs whose steps take the same time and memory: seeds, weights and rates do not count."""
    kinds = {key: (config.get(key) or {}).get("_target_") for key in ("objective", "optimizer")}
    trainer = {key: config["trainer"].get(key) for key in ("device", "precision", "threads", "eval_batch_size")}
    return _key([_model_of(config), kinds, trainer])


def _model_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the model, and what it is trained on."""
    return {name: config[name] for name in ("dataset", "architecture", "posterior", "prior", "likelihood")}


def _key(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _try_on(config: Mapping[str, Any], data: dict[str, ImageData], models: dict[str, VAE]) -> Extent:
    """Builds what `assemble` builds, without memory for it; what was loaded and built before is used again."""
    typed = RunConfig.of(config)
    source = _key(config["dataset"])
    if source not in data:
        data[source] = prepare(typed.dataset, typed.seed)
    model = _key(_model_of(config))
    if model not in models:
        parts = (typed.architecture, typed.posterior, typed.prior, typed.likelihood)
        models[model] = _build_on_meta(lambda: build_vae(*parts, data[source].dataset.image_shape))
    vae = models[model]
    typed.objective.check(vae)
    steps_per_epoch = -(-len(data[source].parts.train) // typed.architecture.batch_size)
    steps = typed.trainer.steps(steps_per_epoch)
    epochs = -(-steps // steps_per_epoch)
    optimizer = build_optimizer(typed.optimizer, vae)
    build_scheduler(typed.scheduler, optimizer, interval=typed.trainer.scheduler_interval, steps=steps, epochs=epochs)
    return _extent(typed, data[source], vae, steps / steps_per_epoch)


def _build_on_meta(build: Callable[[], VAE]) -> VAE:
    try:
        with torch.device("meta"):
            return build()
    except (NotImplementedError, RuntimeError):  # a layer that looks at its weights while it is built
        return build().to("meta")


def _extent(typed: RunConfig, data: ImageData, vae: VAE, epochs: float) -> Extent:
    return Extent(
        parameters=sum(p.numel() for p in vae.parameters()),
        train=len(data.parts.train),
        val=len(data.parts.val),
        batch_size=typed.architecture.batch_size,
        epochs=epochs,
        pictures=any(isinstance(hook, Gallery) for hook in typed.hooks.values()),
        record=typed.tracking.enabled,
        draws=typed.objective.draws,
    )


def _time_steps(run: TrainingRun) -> float:
    """Seconds of one update, the median of a few."""
    run.state.vae.train()
    step = build_step(run)
    rows = np.resize(epoch_order(run.data.parts.train, run.seed, 0), len(run.data.parts.train) + run.batch_size)
    laps: list[float] = []
    while sum(laps[WARM_UP:]) < TIMED_SECONDS and (len(laps) < WARM_UP or sum(laps) < PATIENCE_SECONDS):
        start = len(laps) * run.batch_size % len(run.data.parts.train)
        begun = time.perf_counter()
        train_step(run, step, rows[start : start + min(run.batch_size, len(run.data.parts.train))])
        laps.append(time.perf_counter() - begun)
        run.state.step += 1
    return statistics.median(laps[WARM_UP:] or laps[-1:])


def _time_validation(run: TrainingRun) -> float:
    """Seconds per image. The draws for the whole part are made and kept, as in a run, for their memory."""
    whole, rows = Validation(run), run.data.parts.val[: run.trainer.eval_batch_size]
    run.data = replace(run.data, parts=replace(run.data.parts, val=rows))
    batch = Validation(run)
    batch.measure()
    begun = time.perf_counter()
    batch.measure()
    del whole
    return (time.perf_counter() - begun) / len(rows)


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes, but on macOS
