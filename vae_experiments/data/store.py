"""Images gathered block by block: into memory, or into a cache that is memory-mapped when large.

One rule for every source: up to `MEMORY_MAP_BYTES` the images lie in memory; above, in a file of the
user's cache folder, memory-mapped. What is slow to read (CSV text, image files) is cached at any size.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from vae_experiments.data.dataset import digest_pixels
from vae_experiments.files import locked

MEMORY_MAP_BYTES = 1 << 30
FORMAT = 1  # of an entry on disk; raise it whenever reading a source gives other images than before

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Block:
    """Some images of a source: uint8 [n, C, H, W], class numbers int64 [n], test part bool [n]."""

    images: NDArray[np.uint8]
    numbers: NDArray[np.int64]
    test: NDArray[np.bool_]


@dataclass(frozen=True)
class Gathered(Block):
    """All of them."""

    pixel_digest: str | None


class _CacheError(Exception):
    """The cache folder cannot be written: a reason to go on without it."""


def cache_key(*identity: object) -> str:
    """One name for everything that decides what a source's images are (JSON values)."""
    return hashlib.sha256(json.dumps([FORMAT, *identity]).encode()).hexdigest()[:40]


def gather(nbytes: int, key: Callable[[], str], blocks: Callable[[], Iterable[Block]]) -> Gathered:
    """For sources that are quick to read: in memory, or `cached` when they are large.

    Args:
        nbytes: of the images.
        key: `cache_key`, asked for only when large.
        blocks: at least one block; may be called twice.
    """
    return cached(key(), blocks) if nbytes > MEMORY_MAP_BYTES else in_memory(blocks())


def in_memory(blocks: Iterable[Block]) -> Gathered:
    """The blocks joined, with hardly more memory than they take together."""
    pixels = bytearray()
    numbers, test = [], []
    shape: tuple[int, ...] = ()
    for block in blocks:
        pixels += np.ascontiguousarray(block.images).data.cast("B") if block.images.size else b""
        numbers.append(block.numbers)
        test.append(block.test)
        shape = block.images.shape[1:]
    images = np.frombuffer(pixels, dtype=np.uint8).reshape(-1, *shape)
    return Gathered(images, np.concatenate(numbers), np.concatenate(test), pixel_digest=None)


def cached(key: str, blocks: Callable[[], Iterable[Block]]) -> Gathered:
    """The entry `key` of the cache, made first if need be; without a usable cache, `in_memory`."""
    folder = user_cache_path("vae-experiments", appauthor=False) / "images"
    entry, part = folder / key, folder / f"{key}.part"
    if (found := _read(entry)) is not None:
        return found
    try:
        with ExitStack() as held:
            with _cache_errors():
                held.enter_context(locked(folder / f"{key}.lock"))
            if (found := _read(entry)) is not None:  # made by another process in the meantime
                return found
            held.callback(shutil.rmtree, part, ignore_errors=True)
            with _cache_errors():
                shutil.rmtree(part, ignore_errors=True)  # what a killed process left
                shutil.rmtree(entry, ignore_errors=True)  # there, but not whole
                part.mkdir()
            _write(part, blocks())
            with _cache_errors():
                part.rename(entry)
            if (made := _read(entry)) is not None:
                return made
            raise _CacheError("what was written does not read back")
    except _CacheError as error:
        log.warning("no cache in %s (%s): the next start reads the source again", folder, error)
        return in_memory(blocks())


def _write(part: Path, blocks: Iterable[Block]) -> None:
    sha = hashlib.sha256()
    numbers, test = [], []
    shape: tuple[int, ...] = ()
    with _synced(part / "images.u8") as file:
        for block in blocks:
            pixels = np.ascontiguousarray(block.images).data
            sha.update(pixels)
            with _cache_errors():
                file.write(pixels)
            numbers.append(block.numbers)
            test.append(block.test)
            shape = block.images.shape[1:]
    meta = {"shape": [sum(map(len, numbers)), *shape], "sha256": sha.hexdigest()}
    with _cache_errors(), _synced(part / "rows.npz") as file:
        np.savez(file, numbers=np.concatenate(numbers), test=np.concatenate(test))
    with _cache_errors(), _synced(part / "meta.json") as file:
        file.write(json.dumps(meta).encode())


def _read(entry: Path) -> Gathered | None:
    """None where there is no entry, or not a whole one."""
    try:
        meta = json.loads((entry / "meta.json").read_bytes())
        shape, digest = tuple(meta["shape"]), meta["sha256"]
        path = entry / "images.u8"
        nbytes = path.stat().st_size
        images: NDArray[np.uint8]
        if nbytes > MEMORY_MAP_BYTES:
            images = np.memmap(path, dtype=np.uint8, mode="r", shape=shape)
        else:
            images = np.fromfile(path, dtype=np.uint8).reshape(shape)
        with (entry / "rows.npz").open("rb") as file, np.load(file, allow_pickle=False) as rows:
            numbers, test = rows["numbers"], rows["test"]
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile):
        return None
    whole = nbytes == images.nbytes and len(images) == len(numbers) == len(test)
    if not whole or (nbytes <= MEMORY_MAP_BYTES and digest_pixels(images) != digest):
        return None
    return Gathered(images, numbers, test, pixel_digest=digest)


@contextmanager
def _synced(path: Path) -> Iterator[BinaryIO]:
    with _cache_errors():
        file = path.open("wb")
    with file:
        yield file
        with _cache_errors():
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def _cache_errors() -> Iterator[None]:
    try:
        yield
    except (OSError, NotImplementedError) as error:
        raise _CacheError(str(error)) from error
