import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest

from vae_experiments.data.idx import idx_shape, read_idx, write_idx
from vae_experiments.errors import InputError


@pytest.fixture(autouse=True)
def _several_blocks(monkeypatch) -> None:
    monkeypatch.setattr("vae_experiments.data.dataset.BLOCK_BYTES", 49_152)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5000, 3, 4), dtype=np.uint8)


@pytest.fixture
def path(tmp_path: Path, images: np.ndarray) -> Path:
    path = tmp_path / "train-images-idx3-ubyte"
    write_idx(path, images)
    return path


def test_what_is_written_is_the_format_and_reads_back(path: Path, images: np.ndarray) -> None:
    assert path.read_bytes() == struct.pack(">IIII", 2051, 5000, 3, 4) + images.tobytes()
    assert idx_shape(path, 3) == (5000, 3, 4)
    assert (read_idx(path, 3) == images).all()


def test_a_gzipped_file_is_known_by_its_bytes_whatever_its_name(path: Path, images: np.ndarray) -> None:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(gzip.compress(path.read_bytes(), 1))
    assert (read_idx(path, 3, sha256=digest) == images).all()


@pytest.mark.parametrize("size", [17, 4096 * 12, 60_015])
def test_a_truncated_file_is_named_with_its_bytes(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(InputError, match=rf"train-images-idx3-ubyte: truncated: {size} of 60016 bytes"):
        read_idx(path, 3)


def test_a_truncated_gzip_file_is_named(path: Path) -> None:
    path.write_bytes(gzip.compress(path.read_bytes())[:-20])
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte: truncated: \d+ gzipped bytes"):
        read_idx(path, 3)


def test_a_file_of_another_digest_is_refused(path: Path) -> None:
    with pytest.raises(InputError, match="not the published file"):
        read_idx(path, 3, sha256="0" * 64)


def test_damaged_gzip_is_refused(path: Path) -> None:
    data = bytearray(gzip.compress(path.read_bytes()))
    data[200:260] = bytes(60)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte: (damaged|truncated)"):
        read_idx(path, 3)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "empty"),
        (b"\x89PNG\r\n", "not an IDX file: it starts with bytes 89 50 4e 47"),
        (b"\0\0\x08\x03\0\0", "truncated: 6 bytes, not a whole header"),
        (struct.pack(">IIII", 0x0D03, 1, 1, 1) + bytes(4), "holds IDX type 0x0d"),
        (struct.pack(">II", 2049, 1) + bytes(1), "has 1 axes, expected 3: images and labels mixed up"),
        (struct.pack(">IIII", 2051, 1, 1, 1) + bytes(2), "longer than the 17 bytes"),
        (struct.pack(">IIII", 2051, 2**32 - 1, 2**16, 2**16) + bytes(2), "truncated: 18 of"),
    ],
)
def test_what_is_no_image_file_is_named_with_the_reason(tmp_path: Path, data: bytes, fault: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(InputError, match=f"file: {fault}"):
        read_idx(path, 3)
