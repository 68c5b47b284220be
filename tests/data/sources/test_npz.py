import zipfile
from pathlib import Path

import numpy as np
import pytest

from vae_experiments.data import dataset, store
from vae_experiments.data.dataset import UNLABELLED, ImageDataset
from vae_experiments.data.sources.npz import NPZ
from vae_experiments.data.splits import Fractions
from vae_experiments.errors import InputError

IMAGES = np.random.default_rng(0).integers(0, 256, (5000, 3, 4), dtype=np.uint8)
LABELS = np.arange(5000) % 10


@pytest.fixture(autouse=True)
def _several_blocks(monkeypatch) -> None:
    monkeypatch.setattr(dataset, "BLOCK_BYTES", 20_000)


def load(path: str = "toy.npz") -> ImageDataset:
    return NPZ(path=path, split=Fractions()).load()


def save(**arrays: np.ndarray) -> None:
    np.savez("toy.npz", **arrays)


def test_images_and_labels() -> None:
    save(images=IMAGES, labels=LABELS)
    loaded = load()
    assert loaded.name == "toy"
    assert (loaded.images[:, 0] == IMAGES).all()
    assert (loaded.labels == LABELS).all()
    assert loaded.test is None


def test_the_keras_convention_with_its_test_part() -> None:
    np.savez_compressed(
        "toy.npz",
        x_train=IMAGES[:4000],
        y_train=LABELS[:4000, None],
        x_test=IMAGES[4000:],
        y_test=LABELS[4000:],
    )
    loaded = load()
    assert (loaded.images[:, 0] == IMAGES).all()
    assert (loaded.labels == LABELS).all()
    assert loaded.test is not None
    assert loaded.test.sum() == 1000


def test_images_alone_are_unlabelled() -> None:
    save(images=IMAGES)
    assert set(load().labels.tolist()) == {UNLABELLED}


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 3, 1, 2)])
@pytest.mark.parametrize("channels", [1, 3])
def test_channels_last_or_first(axes: tuple[int, ...], channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 5, 7, channels), dtype=np.uint8)
    save(images=images.transpose(axes))
    assert (load().images == images.transpose(0, 3, 1, 2)).all()


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int64, np.uint64])
def test_other_whole_numbers_are_taken_where_they_fit(dtype: type) -> None:
    save(images=IMAGES.astype(dtype))
    assert (load().images[:, 0] == IMAGES).all()


def test_large_archives_are_memory_mapped_with_the_same_digest(monkeypatch) -> None:
    save(images=IMAGES, labels=LABELS)
    digest = load().digest
    monkeypatch.setattr(store, "MEMORY_MAP_BYTES", 1000)
    assert isinstance(load().images, np.memmap)
    assert load().digest == digest


def changed(array: np.ndarray, row: int, value: int) -> np.ndarray:
    array = array.astype(np.int64)
    array[row].flat[0] = value
    return array


@pytest.mark.parametrize(
    ("arrays", "fault"),
    [
        ({"pictures": IMAGES}, r"holds 'pictures'; expected 'images'"),
        ({}, "holds nothing; expected 'images'"),
        ({"images": IMAGES / 255}, "member 'images' holds float64; expected whole numbers from 0 to 255"),
        ({"images": changed(IMAGES, 4500, 256)}, "member 'images', image 4500: 256 is outside 0-255"),
        ({"images": changed(IMAGES, 3, -1)}, "member 'images', image 3: -1 is outside 0-255"),
        ({"images": IMAGES.reshape(5000, 12)}, r"member 'images': shape \(5000, 12\): expected \[N, H, W\]"),
        ({"images": IMAGES[:, :2, :, None].repeat(2, -1)}, "with 1 or 3 channels"),
        ({"images": IMAGES[:0]}, "member 'images' holds no images"),
        ({"images": IMAGES[:, :0]}, "the images have no pixels"),
        (
            {"images": IMAGES, "labels": LABELS[:-1]},
            r"member 'labels' is int64 of shape \(4999,\); expected one",
        ),
        ({"images": IMAGES, "labels": LABELS / 2}, "member 'labels' is float64"),
        ({"images": IMAGES, "labels": changed(LABELS[:, None], 7, -2)}, "member 'labels', entry 7: -2"),
        (
            {"x_train": IMAGES, "x_test": IMAGES[:, :2]},
            r"member 'x_test': images of \(2, 4\), where others are",
        ),
    ],
)
def test_bad_members_are_named(arrays: dict[str, np.ndarray], fault: str) -> None:
    save(**arrays)
    with pytest.raises(InputError, match=rf"^toy\.npz: {fault}|^toy\.npz: .*{fault}"):
        load()


class Attack:
    def __reduce__(self):
        return Path.touch, (Path("ran"),)


def test_pickled_members_are_refused_and_not_run() -> None:
    save(images=np.array([Attack()], dtype=object))
    with pytest.raises(InputError, match=r"toy\.npz: member 'images': .*pickle"):
        load()
    assert not Path("ran").exists()


def test_members_that_try_to_escape_write_nothing(tmp_path: Path) -> None:
    save(images=IMAGES)
    with zipfile.ZipFile("toy.npz", "a") as archive:
        archive.writestr("../../escaped.npy", b"out")
        archive.writestr(str(tmp_path / "escaped.npy"), b"out")
    assert len(load()) == 5000
    assert not list(tmp_path.parent.rglob("escaped*"))


@pytest.mark.parametrize("keep", [0, 100, 30_000])
def test_truncated_archives_are_named(keep: int) -> None:
    save(images=IMAGES)
    Path("toy.npz").write_bytes(Path("toy.npz").read_bytes()[:keep])
    with pytest.raises(InputError, match=r"^toy\.npz: (empty|not an \.npz archive)"):
        load()


def test_a_damaged_member_is_named() -> None:
    save(images=IMAGES)
    data = bytearray(Path("toy.npz").read_bytes())
    data[20_000] ^= 1
    Path("toy.npz").write_bytes(data)
    with pytest.raises(InputError, match=r"^toy\.npz: member 'images' is damaged"):
        load()


def test_a_member_that_is_no_array_is_named() -> None:
    with zipfile.ZipFile("toy.npz", "w") as archive:
        archive.writestr("images", b"text")
    with pytest.raises(InputError, match=r"^toy\.npz: member 'images' is not an array"):
        load()


def test_what_is_no_archive_is_named() -> None:
    with pytest.raises(InputError, match=r"^toy\.npz: no such file: set dataset\.path"):
        load()
    np.save("array.npy", IMAGES)
    with pytest.raises(InputError, match=r"^array\.npy: a single array"):
        load("array.npy")
    Path("text.npz").write_text("hello")
    with pytest.raises(InputError, match=r"^text\.npz: not an \.npz archive"):
        load("text.npz")
