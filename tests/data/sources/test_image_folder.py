import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vae_experiments.data.dataset import UNLABELLED, ImageDataset
from vae_experiments.data.sources.image_folder import ImageFolder
from vae_experiments.data.splits import Fractions
from vae_experiments.errors import InputError

ROOT = Path("pictures")


def draw(name: str, height: int = 5, width: int = 7, mode: str = "RGB", seed: int = 0) -> np.ndarray:
    path = ROOT / name
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (height, width) if mode == "L" else (height, width, len(mode))
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels, mode=None).save(path)
    return pixels


def load(**options: object) -> ImageDataset:
    return ImageFolder(root=str(ROOT), split=Fractions(), **options).load()


def test_subfolders_are_classes_and_files_beside_them_unlabelled() -> None:
    loose = draw("loose.png", seed=1)
    cat = draw("cat/deep/1.png", seed=2)
    dog = draw("dog/2.PNG", seed=3)
    dataset = load()
    assert dataset.name == "pictures"
    assert dataset.labels.tolist() == [0, 1, UNLABELLED]
    assert dataset.class_names == {0: "cat", 1: "dog"}
    assert (dataset.images == np.stack([cat, dog, loose]).transpose(0, 3, 1, 2)).all()


def test_a_folder_without_subfolders_has_no_classes() -> None:
    for index in range(3):
        draw(f"{index}.png")
    dataset = load()
    assert dataset.labels.tolist() == [UNLABELLED] * 3
    assert dataset.class_names == {}


def test_more_than_eleven_classes() -> None:
    for index in range(13):
        draw(f"class{index:02}/x.png")
    dataset = load()
    assert UNLABELLED not in dataset.labels
    assert [dataset.class_names[label] for label in dataset.labels.tolist()] == [f"class{n:02}" for n in range(13)]


def test_the_order_is_that_of_the_paths() -> None:
    for name in ("b/1.png", "a/2.png", "a/10.png", "a-b/1.png"):
        draw(name, seed=len(name))
    assert load().labels.tolist() == [0, 0, 1, 2]


def test_grey_and_colour() -> None:
    grey, colour = draw("grey.png", mode="L"), draw("rgb.png")
    images = load(channels=1).images
    assert images.shape == (2, 1, 5, 7)
    assert (images[0, 0] == grey).all()
    luma = colour @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
    assert np.abs(images[1, 0] - luma).max() <= 1
    assert (load(channels=3).images[0] == grey).all()


def test_jpeg_and_transparency_are_read() -> None:
    flat = np.full((8, 8, 3), (200, 100, 50), dtype=np.uint8)
    ROOT.mkdir()
    Image.fromarray(flat).save(ROOT / "a.jpeg", quality=95)
    Image.fromarray(np.dstack([flat, np.full((8, 8), 128, np.uint8)])).save(ROOT / "b.png")
    images = load().images.astype(int)
    assert np.abs(images[0] - images[1]).max() <= 3


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    ROOT.mkdir()
    Image.fromarray(np.array([[0, 256, 32768, 65535]], dtype=np.uint16)).save(ROOT / "deep.png")
    assert load(channels=1).images.reshape(-1).tolist() == [0, 1, 128, 255]


def test_pictures_are_turned_as_the_camera_says() -> None:
    ROOT.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.new("RGB", (6, 4)).save(ROOT / "photo.jpg", exif=exif)
    assert load().image_shape == (3, 6, 4)


def test_mixed_sizes_are_named_unless_they_are_resized() -> None:
    draw("a.png", 5, 7)
    draw("b.png", 6, 7)
    with pytest.raises(InputError, match=r"pictures/b\.png: 6 x 7 pixels where pictures/a\.png has 5 x 7.*resize"):
        load()
    assert load(resize=[4, 3]).images.shape == (2, 3, 4, 3)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + b"\0" * 50])
def test_an_unreadable_image_is_named(content: bytes) -> None:
    draw("a.png")
    (ROOT / "b.png").write_bytes(content)
    with pytest.raises(InputError, match=r"pictures/b\.png: not a readable PNG or JPEG image"):
        load()


@pytest.mark.parametrize("name", ["b.png", "b.jpg"])
def test_a_truncated_image_is_named(name: str) -> None:
    draw(name, 50, 50)
    data = (ROOT / name).read_bytes()
    (ROOT / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=rf"pictures/{name}: not a readable"):
        load()


def test_a_broken_link_is_an_unreadable_image() -> None:
    draw("a.png")
    (ROOT / "b.png").symlink_to("nowhere.png")
    with pytest.raises(InputError, match=r"pictures/b\.png: not a readable"):
        load()


def test_links_are_followed_once_even_in_a_circle(tmp_path: Path) -> None:
    draw("a/1.png")
    (ROOT / "a/loop").symlink_to(ROOT.resolve())
    (ROOT / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    Image.new("RGB", (7, 5)).save(tmp_path / "elsewhere/2.png")
    assert load().class_names == {0: "a", 1: "b"}
    assert len(load()) == 2


def test_hidden_and_other_files_are_left_out() -> None:
    draw("a/1.png")
    draw(".cache/2.png")
    draw("a/._1.png")
    (ROOT / "a/notes.txt").write_text("not an image")
    assert len(load()) == 1


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_decompression_bomb_is_not_set_off(monkeypatch) -> None:
    draw("big.png", 100, 100)
    for limit in (9_000, 4_000):  # Pillow only warns of the first
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(InputError, match=r"pictures/big\.png: too large to decode safely"):
            load()


def test_the_second_load_comes_from_the_cache_until_a_file_changes(monkeypatch) -> None:
    draw("a.png", seed=0)
    first = load()
    original = ImageFolder._decode
    decoded: list[Path] = []
    monkeypatch.setattr(ImageFolder, "_decode", lambda self, path: decoded.append(path) or original(self, path))
    assert load().digest == first.digest
    assert decoded == []

    draw("a.png", seed=1)
    stat = (ROOT / "a.png").stat()
    os.utime(ROOT / "a.png", ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert load().digest != first.digest
    assert load(channels=1).image_shape == (1, 5, 7)


def test_more_images_than_are_decoded_at_once(monkeypatch) -> None:
    monkeypatch.setattr("vae_experiments.data.sources.image_folder.AT_ONCE", 2)
    drawn = [draw(f"{index}.png", seed=index) for index in range(5)]
    assert (load().images == np.stack(drawn).transpose(0, 3, 1, 2)).all()


def test_folders_without_images_are_named() -> None:
    with pytest.raises(InputError, match=r"pictures: no such folder: set dataset\.root"):
        load()
    ROOT.mkdir()
    with pytest.raises(InputError, match=r"pictures: no \.png, \.jpg or \.jpeg files"):
        load()


def test_a_resize_of_one_number_is_refused() -> None:
    with pytest.raises(InputError, match=r"dataset\.resize=\[64\]: give \[height, width\]"):
        ImageFolder(root="pictures", split=Fractions(), resize=[64])
