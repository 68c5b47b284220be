"""The IDX format of MNIST: a header of big-endian sizes, then unsigned bytes; gzipped or not."""

import gzip
import hashlib
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from vae_experiments.data.dataset import blocks, image_blocks
from vae_experiments.errors import InputError
from vae_experiments.files import is_gzip, read_exactly, write_atomically

UNSIGNED_BYTE = 0x08


def idx_shape(path: Path, *ndims: int) -> tuple[int, ...]:
    """The shape in the header, which must have one of `ndims` axes."""
    with _opened(path) as file:
        return _read_header(path, file, ndims)[0]


def idx_blocks(path: Path, *ndims: int, sha256: str | None = None) -> Iterator[NDArray[np.uint8]]:
    """The entries, by blocks.

    Raises InputError, naming the file and its bytes, where it is truncated, longer than its header
    says, damaged or no IDX file of unsigned bytes; at the end also where `sha256`, the digest of the
    uncompressed file, is given and not met.
    """
    with _opened(path) as file:
        shape, header = _read_header(path, file, ndims)
        size = int(np.prod(shape[1:], dtype=np.int64))
        whole = len(header) + shape[0] * size
        digest, done = hashlib.sha256(header), len(header)
        for rows in blocks(shape[0], size):
            entries = rows.stop - rows.start
            data = read_exactly(file, entries * size)
            done += len(data)
            if len(data) < entries * size:
                raise InputError(f"{path}: truncated: {done} of {whole} bytes; get the file again")
            digest.update(data)
            yield np.frombuffer(data, dtype=np.uint8).reshape(entries, *shape[1:])
        if file.read(1):
            raise InputError(f"{path}: longer than the {whole} bytes of its header; get the file again")
    if sha256 is not None and digest.hexdigest() != sha256:
        found = digest.hexdigest()
        raise InputError(f"{path}: not the published file (SHA-256 {found[:12]}..., not {sha256[:12]}...)")


def read_idx(path: Path, *ndims: int, sha256: str | None = None) -> NDArray[np.uint8]:
    """The whole array; raises as `idx_blocks` does."""
    shape = idx_shape(path, *ndims)
    pieces = list(idx_blocks(path, *ndims, sha256=sha256))
    return np.concatenate(pieces) if pieces else np.empty(shape, dtype=np.uint8)


def write_idx(path: Path, array: NDArray[np.uint8]) -> None:
    """Writes an uncompressed IDX file, whole or not at all."""
    header = struct.pack(f">HBB{array.ndim}I", 0, UNSIGNED_BYTE, array.ndim, *array.shape)
    write_atomically(path, [header, *(np.ascontiguousarray(array[rows]).data for rows in image_blocks(array))])


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with gzip.open(path, "rb") if is_gzip(path) else path.open("rb") as file:
            yield cast(BinaryIO, file)
    except EOFError as error:
        size = path.stat().st_size
        raise InputError(f"{path}: truncated: {size} gzipped bytes are not all; get it again") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: damaged gzip file ({error}); get it again") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def _read_header(path: Path, file: BinaryIO, ndims: tuple[int, ...]) -> tuple[tuple[int, ...], bytes]:
    magic = read_exactly(file, 4)
    if not magic:
        raise InputError(f"{path}: empty")
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise InputError(f"{path}: not an IDX file: it starts with bytes {magic.hex(' ')}")
    if magic[2] != UNSIGNED_BYTE:
        raise InputError(f"{path}: holds IDX type 0x{magic[2]:02x}; only unsigned bytes (0x08) can be read")
    if magic[3] not in ndims:
        wanted = " or ".join(map(str, ndims))
        raise InputError(f"{path}: has {magic[3]} axes, expected {wanted}: images and labels mixed up?")
    sizes = read_exactly(file, 4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise InputError(f"{path}: truncated: {4 + len(sizes)} bytes, not a whole header; get the file again")
    return struct.unpack(f">{magic[3]}I", sizes), magic + sizes
