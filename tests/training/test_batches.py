"""From rows to batches: every image once an epoch, in [0, 1], without a copy of the dataset."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_experiments.data.batches import Images, binarize, epoch_order

CPU = torch.device("cpu")


@settings(deadline=None)  # the machine may be busy
@given(n=st.integers(0, 300), seed=st.integers(0, 2**40), epoch=st.integers(0, 10_000))
def test_an_epoch_has_every_row_once(n: int, seed: int, epoch: int) -> None:
    rows = np.arange(n, dtype=np.int64) * 3 + 1
    order = epoch_order(rows, seed, epoch)
    assert order.dtype == np.int64
    np.testing.assert_array_equal(np.sort(order), rows)
    np.testing.assert_array_equal(rows, np.arange(n) * 3 + 1)


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    rows = np.arange(50)
    orders = {(seed, epoch): tuple(epoch_order(rows, seed, epoch)) for seed in range(4) for epoch in range(4)}
    assert len(set(orders.values())) == 16
    np.random.seed(9)  # noqa: NPY002
    torch.manual_seed(9)
    for (seed, epoch), order in reversed(orders.items()):
        assert tuple(epoch_order(rows, seed, epoch)) == order


@pytest.mark.parametrize("shape", [(256, 1, 1, 1), (16, 1, 4, 4), (8, 3, 2, 4)])
@pytest.mark.parametrize("kind", ["array", "read-only", "memmap"])
def test_images_are_grey_levels_over_255(tmp_path: Path, shape: tuple[int, int, int, int], kind: str) -> None:
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    if kind == "read-only":
        array.flags.writeable = False
    elif kind == "memmap":
        array.tofile(tmp_path / "images.u8")
        array = np.memmap(tmp_path / "images.u8", dtype=np.uint8, mode="r", shape=shape)
    before = array.tobytes()
    rows = np.array([3, 0, 3], dtype=np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = Images(array, CPU)(rows)
        torch.testing.assert_close(x, torch.tensor(array[rows]).float() / 255, rtol=0, atol=0)
        x.zero_()
    assert array.tobytes() == before
    assert x.dtype == torch.float32
    assert x.is_contiguous(memory_format=torch.channels_last)


def test_a_pixel_is_white_with_its_grey_level_as_probability() -> None:
    n = 20_000
    x = (torch.tensor([0, 1, 64, 128, 254, 255]) / 255).expand(n, -1)
    drawn = binarize(x, torch.rand(x.shape, generator=torch.Generator().manual_seed(0)))
    assert drawn.dtype == x.dtype
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    error = (drawn.mean(0) - x[0]).abs()
    assert (error <= 5 * (x[0] * (1 - x[0]) / n).sqrt()).all()  # and none at all for black and white


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_images_on_the_device_are_those_on_the_cpu() -> None:
    array = np.random.default_rng(0).integers(0, 256, (64, 3, 8, 8), dtype=np.uint8)
    rows = np.array([5, 1, 63], dtype=np.int64)
    on_device = Images(array, torch.device("cuda"))(rows)
    torch.testing.assert_close(on_device.cpu(), Images(array, CPU)(rows))
