"""Files written whole or not at all, and told apart by what is in them."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock

GZIP_MAGIC = b"\x1f\x8b"


def write_atomically(path: Path, chunks: Iterable[bytes | memoryview]) -> None:
    """Puts a whole, synced file in place of whatever `path` was. The caller keeps others from writing it."""
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_gzip(path: Path) -> bool:
    """Whether the file is gzipped, by its first bytes: names lie."""
    with path.open("rb") as file:
        return file.read(2) == GZIP_MAGIC


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keeps other processes out until the block ends; a process that dies lets go."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path):
        yield


def read_exactly(file: BinaryIO, size: int) -> bytes:
    """`size` bytes, or fewer where the file ends; in steps, so that a false header costs no memory."""
    pieces: list[bytes] = []
    while size > 0 and (piece := file.read(min(size, 1 << 24))):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
