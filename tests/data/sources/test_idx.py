import gzip
from pathlib import Path

import numpy as np
import pytest

from vae_experiments.data import store
from vae_experiments.data.dataset import UNLABELLED, ImageDataset
from vae_experiments.data.idx import write_idx
from vae_experiments.data.sources.idx import IDX
from vae_experiments.data.splits import Official
from vae_experiments.errors import InputError

TRAIN = np.random.default_rng(0).integers(0, 256, (5000, 3, 2), dtype=np.uint8)
TEST = np.random.default_rng(1).integers(0, 256, (5, 3, 2), dtype=np.uint8)


@pytest.fixture(autouse=True)
def _several_blocks(monkeypatch) -> None:
    monkeypatch.setattr("vae_experiments.data.dataset.BLOCK_BYTES", 10_000)


@pytest.fixture
def root() -> Path:
    root = Path("letters")
    root.mkdir()
    write_idx(root / "train-images-idx3-ubyte", TRAIN)
    write_idx(root / "train-labels-idx1-ubyte", np.arange(5000, dtype=np.uint8) % 26)
    write_idx(root / "t10k-images-idx3-ubyte", TEST)
    write_idx(root / "t10k-labels-idx1-ubyte", np.arange(5, dtype=np.uint8))
    return root


def load(root: Path) -> ImageDataset:
    return IDX(root=str(root), split=Official()).load()


def test_all_four_files(root: Path) -> None:
    dataset = load(root)
    assert dataset.name == "letters"
    assert (dataset.images[:, 0] == np.concatenate([TRAIN, TEST])).all()
    assert dataset.test is not None
    assert dataset.test.tolist() == [False] * 5000 + [True] * 5
    assert len(dataset.class_names) == 26
    assert UNLABELLED not in dataset.labels


def test_the_training_files_alone_and_the_images_alone(root: Path) -> None:
    (root / "t10k-images-idx3-ubyte").unlink()
    assert load(root).test is None
    assert len(load(root)) == 5000
    (root / "train-labels-idx1-ubyte").unlink()
    assert set(load(root).labels.tolist()) == {UNLABELLED}


def test_gzipped_files_and_the_other_spelling(root: Path) -> None:
    digest = load(root).digest
    for path in list(root.iterdir()):
        path.with_name(path.name.replace("-idx", ".idx") + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert load(root).digest == digest


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 3, 1, 2)])
def test_colour_images_with_the_channels_last_or_first(axes: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 5, 7, 3), dtype=np.uint8)
    root = Path("colour")
    root.mkdir()
    write_idx(root / "train-images-idx3-ubyte", images.transpose(axes))
    assert (load(root).images == images.transpose(0, 3, 1, 2)).all()


def test_large_files_are_memory_mapped_with_the_same_digest(root: Path, monkeypatch) -> None:
    small = load(root)
    monkeypatch.setattr(store, "MEMORY_MAP_BYTES", 1000)
    for _ in range(2):
        large = load(root)
        assert isinstance(large.images, np.memmap)
        assert large.digest == small.digest


def test_bad_files_are_named(root: Path) -> None:
    images, labels = root / "train-images-idx3-ubyte", root / "train-labels-idx1-ubyte"
    whole = images.read_bytes()

    images.write_bytes(whole[:1000])
    with pytest.raises(InputError, match="train-images-idx3-ubyte: truncated: 1000 of 30016 bytes"):
        load(root)
    images.write_bytes(whole)

    write_idx(labels, np.zeros(4999, dtype=np.uint8))
    with pytest.raises(InputError, match="train-labels-idx1-ubyte: 4999 labels for the 5000 images"):
        load(root)
    write_idx(labels, np.zeros(5000, dtype=np.uint8))

    write_idx(root / "t10k-images-idx3-ubyte", TEST.transpose(0, 2, 1))
    with pytest.raises(InputError, match=r"t10k-images-idx3-ubyte: images of \(2, 3\) where .* has \(3, 2\)"):
        load(root)


def test_a_folder_without_them_is_named() -> None:
    with pytest.raises(InputError, match=r"nowhere: no such folder: set dataset\.root"):
        load(Path("nowhere"))
    Path("empty").mkdir()
    with pytest.raises(InputError, match="empty: holds no train-images-idx3-ubyte"):
        load(Path("empty"))


@pytest.mark.parametrize(("shape", "fault"), [((0, 2, 2), "holds no images"), ((3, 0, 2), "the images have no pixels")])
def test_nothing_in_them_is_the_users_mistake(shape: tuple[int, ...], fault: str) -> None:
    Path("none").mkdir()
    write_idx(Path("none/train-images-idx3-ubyte"), np.zeros(shape, dtype=np.uint8))
    with pytest.raises(InputError, match=fault):
        load(Path("none"))
