"""Puts a run together from its config: data, model, optimizer, and what they are to be told apart by."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.optim import Optimizer

from vae_experiments.data.prepare import ImageData, prepare
from vae_experiments.errors import InputError
from vae_experiments.kernels import compiled
from vae_experiments.models.architectures import Architecture
from vae_experiments.models.build import build_vae
from vae_experiments.models.layers import compute_by
from vae_experiments.models.vae import VAE
from vae_experiments.runs.config import RunConfig
from vae_experiments.runs.folder import RunFolder
from vae_experiments.runs.signature import signature
from vae_experiments.tracking.null import NullTracker
from vae_experiments.training.adam import Adam
from vae_experiments.training.config import TrainerConfig
from vae_experiments.training.hardware import (
    Hardware,
    choose,
    flush_denormals,
    keep_freed_memory,
    make_repeatable,
    takes_kernels,
)
from vae_experiments.training.optimization import build_optimizer, build_scheduler
from vae_experiments.training.randomness import stream
from vae_experiments.training.run import TrainingRun
from vae_experiments.training.state import TrainingState
from vae_experiments.training.teacher import Teacher, TeacherConfig
from vae_experiments.training.world import World

log = logging.getLogger(__name__)


def assemble(config: RunConfig, plain: dict[str, Any], folder: RunFolder, world: World) -> TrainingRun:
    """A run at its very beginning.

    Args:
        config: typed.
        plain: the same, composed; stored with every checkpoint.
        folder: where it will write.
        world: the processes that train it.

    Raises:
        InputError: bad data, or parts that do not fit together.
    """
    if config.trainer.flush_denormals:
        flush_denormals()
    hardware = choose(config.trainer)
    make_repeatable(config.trainer, hardware)
    if config.trainer.keep_memory:
        keep_freed_memory()
    data = prepare(config.dataset, config.seed)
    torch.manual_seed(config.seed)
    vae = _build(config, config.architecture, data, hardware)
    config.objective.check(vae)
    if config.trainer.monitor == "val/iw_bound" and "iw_bound" not in config.objective.others:
        raise InputError("trainer.monitor=val/iw_bound: only objective=iwae measures it; use val/elbo")
    if world.size > 1 and config.objective.couples_images:
        raise InputError(
            f"the objective {type(config.objective).__name__}: its loss couples the images of a batch, which several "
            "processes would tear apart; train it in one"
        )
    optimizer = build_optimizer(config.optimizer, vae, config.trainer.kernels)
    run = TrainingRun(
        name=config.name or f"{data.dataset.name}-{type(config.architecture).__name__.lower()}-d{vae.latent_dim}",
        seed=config.seed,
        batch_size=config.architecture.batch_size,
        objective=config.objective,
        trainer=config.trainer,
        hooks=[hook for hook in config.hooks.values() if hook is not None] if world.is_first else [],
        data=data,
        state=TrainingState(
            vae,
            optimizer,
            None,
            stream(config.seed, "training", hardware.device),
            terms=3 + len(config.objective.others),
        ),
        hardware=hardware,
        world=world,
        folder=folder.path,
        record=NullTracker(),
        identity={
            "config": plain,
            "signature": signature(plain, data.dataset.digest),
            "image_shape": list(data.dataset.image_shape),
            "threads": torch.get_num_threads(),
            "arithmetic": _arithmetic([vae], [optimizer], hardware, config.trainer),
        },
    )
    run.state.scheduler = build_scheduler(
        config.scheduler,
        optimizer,
        interval=config.trainer.scheduler_interval,
        steps=run.steps,
        epochs=run.epochs,
    )
    if config.teacher is not None:
        run.teacher = _teacher(config.teacher, config, run)
        states = run.state, run.teacher.run.state  # both are trained once more where a run is resumed
        run.identity["arithmetic"] = _arithmetic(
            [state.vae for state in states], [state.optimizer for state in states], hardware, config.trainer
        )
    if world.is_first:
        _say_what_runs(run)
    return run


def _arithmetic(
    vaes: Sequence[VAE], optimizers: Sequence[Optimizer], hardware: Hardware, trainer: TrainerConfig
) -> str:
    """What rounds the numbers: a run that is resumed with another would come to others."""
    own_layers = any(takes_kernels(vae, hardware) for vae in vaes)
    layers = f", own kernels ({compiled.units(hardware.precision)})" if own_layers else ""
    updated = any(isinstance(optimizer, Adam) and optimizer.takes_kernels for optimizer in optimizers)
    clipped = trainer.clip_grad_norm is not None and trainer.kernels and hardware.device.type == "cpu"
    updates = ", own updates" if updated or (clipped and compiled.updates() is not None) else ""
    return f"{hardware.device.type} {hardware.precision}{layers}{updates}, torch {torch.__version__}"


def _teacher(teacher: TeacherConfig, config: RunConfig, run: TrainingRun) -> Teacher:
    """The small network, at the beginning of a training of its own that is like the run's but for what it names."""
    if teacher.architecture.latent_dim != run.state.vae.latent_dim:
        raise InputError(
            f"teacher.architecture.latent_dim={teacher.architecture.latent_dim}: the run's network has "
            f"{run.state.vae.latent_dim} latent dimensions, and its teacher must have as many"
        )
    try:
        vae = _build(config, teacher.architecture, run.data, run.hardware)
    except InputError as error:
        raise InputError(f"teacher: {error}") from error
    optimizer = build_optimizer(teacher.optimizer, vae, config.trainer.kernels)
    steps = teacher.steps
    generator = stream(config.seed, "teacher", run.hardware.device)
    taught = replace(
        run,
        batch_size=teacher.architecture.batch_size,
        trainer=replace(run.trainer, max_epochs=steps, max_steps=steps, scheduler_interval="step"),
        hooks=[],
        state=TrainingState(
            vae,
            optimizer,
            build_scheduler(teacher.scheduler, optimizer, interval="step", steps=steps, epochs=steps),
            generator,
            terms=3 + len(config.objective.others),
        ),
    )
    return Teacher(taught, teacher.weight(config.objective.nat(vae)))


def _build(config: RunConfig, architecture: Architecture, data: ImageData, hardware: Hardware) -> VAE:
    """The network of that architecture on the device, with the run's posterior, prior and likelihood."""
    vae = build_vae(architecture, config.posterior, config.prior, config.likelihood, data.dataset.image_shape)
    compute_by(vae, rewritten=config.trainer.rewritten_layers, kernels=config.trainer.kernels)
    layout = torch.channels_last if config.trainer.channels_last else torch.contiguous_format
    vae.to(hardware.device, memory_format=layout)  # type: ignore[call-overload]
    vae.prior.initialize(_some_images(data, config.seed).to(hardware.device))
    return vae


def _some_images(data: ImageData, seed: int) -> torch.Tensor:
    """At most 1,000 training images in [0, 1], grey where pixels are drawn from grey levels."""
    rows = np.random.default_rng(seed).permutation(data.parts.train)[:1000]
    return torch.from_numpy(data.dataset.images[rows]).float() / 255


def _say_what_runs(run: TrainingRun) -> None:
    dataset, parts, vae = run.data.dataset, run.data.parts, run.state.vae
    images = {name: f"{len(rows):,}" for name, rows in vars(parts).items()}
    count, decoder = (f"{sum(p.numel() for p in part.parameters()):,}" for part in (vae, vae.decoder))
    log.info(
        "%s: %s images to train on, %s to validate, %s kept for testing",
        *(dataset.name, images["train"], images["val"], images["test"]),
    )
    log.info("model: %s parameters, %s of them the decoder's", count, decoder)
    kernels = ", layers compiled for it" if takes_kernels(vae, run.hardware) else ""
    log.info("device: %s, %d threads%s", run.hardware, torch.get_num_threads(), kernels)
    if run.world.size > 1:
        log.info("data-parallel: %d processes, one batch of %d between them", run.world.size, run.batch_size)
