"""Training a feature extractor on a dataset, once: it is kept in the user's cache for the commands to come."""

import hashlib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from platformdirs import user_cache_path
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vae_experiments.data.batches import epoch_order
from vae_experiments.data.prepare import ImageData
from vae_experiments.errors import InputError
from vae_experiments.evaluation.extractor import LAYOUT, Extractor, Network, as_input, blank_network
from vae_experiments.files import locked
from vae_experiments.training.randomness import stream

# Three epochs of MNIST, 99% right; any dataset takes about as long.
IMAGES_SEEN = 150_000
BATCH_SIZE = 64
PEAK_LR = 3e-3

log = logging.getLogger(__name__)


def load_or_train(data: ImageData, *, epochs: int | None = None, seed: int = 0, force: bool = False) -> Extractor:
    """The dataset's extractor, trained first where there is none; by one process, the others wait for it.

    One that is there is taken as it is, whatever epochs and seed it was trained with, and one that cannot be
    kept is given all the same, with a warning.

    Args:
        data: see `train_extractor`.
        epochs: see `train_extractor`.
        seed: see `train_extractor`.
        force: trains it even if there is one, and puts it in that one's place.

    Raises:
        InputError: see `train_extractor`.
    """
    path = extractor_path(data)
    if not force and (found := _found(path)) is not None:
        return found
    extractor = None
    try:
        with locked(path.with_suffix(".lock")):
            if not force and (found := _found(path)) is not None:  # another process has trained it in the meantime
                return found
            extractor = train_extractor(data, epochs=epochs, seed=seed)
            extractor.save(path)
    except (OSError, NotImplementedError) as error:
        log.warning("%s: cannot be kept (%s); the next command trains it again", path, error)
    return extractor or train_extractor(data, epochs=epochs, seed=seed)


def extractor_path(data: ImageData) -> Path:
    """Where the extractor of these very images, parts and binarisation lies in the user's cache."""
    dataset, parts = data.dataset, data.parts
    sha = hashlib.sha256(repr((LAYOUT, dataset.digest, data.binarization, dataset.image_shape)).encode())
    for name, rows in vars(parts).items():
        sha.update(f"{name} {len(rows)}".encode())
        sha.update(np.ascontiguousarray(rows).data)
    name = re.sub(r"[^\w.-]+", "-", dataset.name)
    return user_cache_path("vae-experiments", appauthor=False) / "extractors" / f"{name}-{sha.hexdigest()[:16]}.pt"


def train_extractor(data: ImageData, *, epochs: int | None = None, seed: int = 0) -> Extractor:
    """Trains one on the labelled images of the training part, as a model is trained on them.

    Cross-entropy, Adam, the learning rate risen and fallen once (Smith & Topin 2018), in float32 on one
    thread: the same data and seed give the same weights, however many processors there are.

    Args:
        data: labelled; pixels that are drawn at every use are drawn anew in each epoch.
        epochs: how often each image is seen; None for as often as makes `IMAGES_SEEN` together.
        seed: of the weights, the order of the images and the drawn pixels.

    Raises:
        InputError: the training part has labels of fewer than two classes.
    """
    dataset = data.dataset
    classes = sorted(dataset.class_names)
    train, val = (rows[np.isin(dataset.labels[rows], classes)] for rows in (data.parts.train, data.parts.val))
    if (present := len(np.unique(dataset.labels[train]))) < 2:
        raise InputError(
            f"dataset {dataset.name} ({dataset.source}): its training part has labels of "
            f"{present} classes, and a feature extractor learns to tell classes apart: use labels of two or more"
        )
    epochs = epochs or -(-IMAGES_SEEN // len(train))
    log.info("training the feature extractor of %s, once: %d epochs", dataset.name, epochs)
    network = _initialised(blank_network(dataset.image_shape[0], len(classes)), stream(seed, "extractor"))
    with _one_thread():
        _fit(network, data, classes, train, epochs, seed)
        right = [network(x).argmax(1).eq(targets).sum().item() for x, targets in _batches(data, classes, val, seed)]
    return Extractor(network, dataset.image_shape, sum(right) / len(val) if len(val) else None, epochs, seed)


def _fit(
    network: Network, data: ImageData, classes: list[int], train: NDArray[np.int64], epochs: int, seed: int
) -> None:
    optimizer = torch.optim.Adam(network.parameters(), PEAK_LR)
    steps = epochs * -(-len(train) // BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_LR, total_steps=steps)
    for epoch in range(epochs):
        for x, targets in _batches(data, classes, epoch_order(train, seed, epoch), seed + epoch):
            optimizer.zero_grad()
            cross_entropy(network(x), targets).backward()
            optimizer.step()
            schedule.step()
    network.requires_grad_(False)


def _initialised(network: Network, generator: torch.Generator) -> Network:
    """Weights for rectified units (He et al. 2015), biases zero."""
    for name, parameter in network.named_parameters():
        if name.endswith("weight"):
            nn.init.kaiming_uniform_(parameter, nonlinearity="relu", generator=generator)
        else:
            nn.init.zeros_(parameter)
    return network


def _batches(
    data: ImageData, classes: list[int], rows: NDArray[np.int64], seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Images [B, C, H, W] of the rows in their order, and the places of their labels in `classes`, [B]."""
    for start in range(0, len(rows), BATCH_SIZE):
        batch = rows[start : start + BATCH_SIZE]
        targets = np.searchsorted(classes, data.dataset.labels[batch])
        yield as_input(data.images(batch, seed) / np.float32(255)), torch.from_numpy(targets)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums in one order; and two threads are far slower than one where something else holds a processor."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _found(path: Path) -> Extractor | None:
    """The extractor that lies there; None where there is none, or a damaged one."""
    if not path.exists():
        return None
    try:
        return Extractor.load(path)
    except InputError as error:
        log.warning("%s; trained anew", error)
        return None
