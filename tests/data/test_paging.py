"""Rows of a memory map are fetched from the disk before they are touched."""

import ctypes
import mmap
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from vae_experiments.data.batches import Images
from vae_experiments.data.paging import Paging

PAGES = 3  # of a row; none is shared by two
SHAPE = (512, PAGES, 1, mmap.PAGESIZE)


def rows_in_memory(array: np.memmap) -> set[int]:
    """Rows whose pages are all in memory, without touching any of them."""
    pages = (ctypes.c_ubyte * (len(array) * PAGES))()
    address, size = ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes)
    assert ctypes.CDLL(None, use_errno=True).mincore(address, size, pages) == 0
    whole = (np.frombuffer(pages, np.uint8).reshape(-1, PAGES) & 1).all(1)
    return set(np.flatnonzero(whole).tolist())


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what is in memory")
def test_expected_images_are_read_and_no_others(tmp_path: Path) -> None:
    path = tmp_path / "images.u8"
    np.arange(SHAPE[0]).astype(np.uint8).repeat(PAGES * mmap.PAGESIZE).tofile(path)
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    array = np.memmap(path, dtype=np.uint8, mode="r", shape=SHAPE)
    if rows_in_memory(array):
        pytest.skip("this file system keeps its files in memory")
    images, rows = Images(array, torch.device("cpu")), np.array([400, 7, 130], dtype=np.int64)
    images.expect(rows)
    deadline = time.monotonic() + 20
    while len(rows_in_memory(array)) < len(rows) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert rows_in_memory(array) == set(rows.tolist())
    torch.testing.assert_close(images(rows)[:, 0, 0, 0] * 255, torch.from_numpy(rows % 256).float())


def test_only_contiguous_memory_maps_are_paged(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 2, 2)
    array.tofile(tmp_path / "images.u8")
    mapped = np.memmap(tmp_path / "images.u8", dtype=np.uint8, mode="r", shape=array.shape)
    assert Paging.of(mapped) is not None
    assert Paging.of(mapped[1:]) is not None
    assert Paging.of(mapped[:, 1:]) is None
    assert Paging.of(array) is None


def test_the_last_row_and_none_can_be_fetched(tmp_path: Path) -> None:
    np.zeros(10 * 784, dtype=np.uint8).tofile(tmp_path / "images.u8")
    mapped = np.memmap(tmp_path / "images.u8", dtype=np.uint8, mode="r", shape=(10, 1, 28, 28))
    for part in (mapped, mapped[3:]):
        paging = Paging.of(part)
        assert paging is not None
        paging.fetch(np.array([len(part) - 1, 0], dtype=np.int64))
        paging.fetch(np.empty(0, dtype=np.int64))
