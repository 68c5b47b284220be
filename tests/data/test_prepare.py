from dataclasses import dataclass

import numpy as np
import pytest

from vae_experiments.data import binarize, store
from vae_experiments.data.dataset import ImageDataset
from vae_experiments.data.prepare import ImageData, prepare
from vae_experiments.data.source import Binarization, Source
from vae_experiments.data.splits import Fractions, Split
from vae_experiments.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Ramp(Source):
    """Every grey level from 0 to 255, in each of n images."""

    n: int = 10

    def load(self) -> ImageDataset:
        images = np.tile(np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16), (self.n, 1, 1, 1))
        return ImageDataset("ramp", images, np.zeros(self.n, dtype=np.int64), {0: "0"}, source="here")


def prepared(binarization: Binarization, seed: int = 0, n: int = 10) -> ImageDataset:
    split: Split = Fractions()
    data = prepare(Ramp(split=split, binarization=binarization, n=n), seed)
    assert data.binarization == binarization
    assert len(data.parts.val) == round(n / 10)
    return data.dataset


@pytest.fixture(autouse=True)
def _several_blocks(monkeypatch) -> None:
    monkeypatch.setattr("vae_experiments.data.dataset.BLOCK_BYTES", 256 * 1000)


@pytest.mark.parametrize("binarization", ["none", "dynamic"])
def test_grey_levels_stay_where_nothing_is_done_once(binarization: Binarization) -> None:
    assert prepared(binarization).digest == Ramp(split=Fractions()).load().digest


def test_the_threshold_is_one_half() -> None:
    images = prepared("threshold").images
    assert set(np.unique(images)) == {0, 255}
    assert images[0].reshape(-1).tolist() == [0] * 128 + [255] * 128


def test_a_static_draw_has_the_grey_level_as_its_probability() -> None:
    images = prepared("static", n=5000).images  # more than one block
    assert set(np.unique(images)) == {0, 255}
    share = (images == 255).mean(axis=0).reshape(-1)
    p = np.arange(256) / 255
    assert share[0] == 0
    assert share[255] == 1
    assert np.abs(share - p).max() < 5 * np.sqrt(0.25 / 5000)


def test_a_static_draw_is_made_once_from_the_runs_seed() -> None:
    assert prepared("static", seed=1).digest == prepared("static", seed=1).digest
    assert prepared("static", seed=1).digest != prepared("static", seed=2).digest


@pytest.mark.parametrize("how", ["threshold", "static"])
def test_large_images_are_binarised_on_disk_to_the_same_pixels(how: Binarization, monkeypatch) -> None:
    in_memory = prepared(how)
    monkeypatch.setattr(store, "MEMORY_MAP_BYTES", 100)
    mapped = prepared(how)
    assert isinstance(mapped.images, np.memmap)
    assert (mapped.images == in_memory.images).all()
    assert mapped.digest == in_memory.digest


def dynamic(n: int = 10) -> ImageData:
    return prepare(Ramp(split=Fractions(), binarization="dynamic", n=n), seed=0)


def test_a_dynamic_draw_has_the_grey_level_as_its_probability() -> None:
    data = dynamic(5000)
    images = data.images(np.arange(5000), seed=3)
    assert images.dtype == np.uint8
    assert set(np.unique(images)) == {0, 255}
    share = (images == 255).mean(axis=0).reshape(-1)
    p = np.arange(256) / 255
    assert share[0] == 0
    assert share[255] == 1
    assert np.abs(share - p).max() < 5 * np.sqrt(0.25 / 5000)
    assert len(np.unique(data.dataset.images)) == 256  # which stays as it was


def test_a_dynamic_draw_is_a_function_of_seed_and_row() -> None:
    data = dynamic(50)
    everything = data.images(np.arange(50), seed=3)
    rows = np.array([7, 3, 3, 49])
    assert (data.images(rows, seed=3) == everything[rows]).all()
    assert (data.images(rows, seed=4) != everything[rows]).any(axis=(1, 2, 3)).all()
    assert len(np.unique(everything.reshape(50, -1), axis=0)) == 50  # though the grey images are all alike
    assert data.images(rows[:0], seed=3).shape == (0, 1, 16, 16)


@pytest.mark.parametrize("how", ["none", "threshold", "static"])
def test_other_images_are_the_datasets_whatever_the_seed(how: Binarization) -> None:
    data = prepare(Ramp(split=Fractions(), binarization=how), seed=0)
    rows = np.array([2, 0])
    assert (data.images(rows, seed=1) == data.dataset.images[rows]).all()


def test_labels_and_parts_are_left_alone() -> None:
    dataset = Ramp(split=Fractions()).load()
    assert binarize.threshold(dataset).labels is dataset.labels


def test_no_images_are_no_dataset() -> None:
    with pytest.raises(InputError, match=r"dataset ramp \(here\): no images"):
        prepare(Ramp(split=Fractions(), n=0), seed=0)


def test_one_image_cannot_be_split() -> None:
    with pytest.raises(InputError, match="dataset ramp has 1 image: "):
        prepare(Ramp(split=Fractions(), n=1), seed=0)
