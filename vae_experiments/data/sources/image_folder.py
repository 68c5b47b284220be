"""A folder of PNG and JPEG files."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray
from PIL import Image, ImageOps

from vae_experiments.data.dataset import ImageDataset
from vae_experiments.data.labels import MISSING, encode_labels
from vae_experiments.data.source import Source
from vae_experiments.data.store import Block, cache_key, cached
from vae_experiments.errors import InputError

AT_ONCE = 256  # images decoded before they are stored
SUFFIXES = {".png", ".jpg", ".jpeg"}
Side = Annotated[int, Ge(1)]


@dataclass(frozen=True, kw_only=True)
class ImageFolder(Source):
    """Every .png, .jpg and .jpeg under a folder, in the order of their paths.

    A file's class is the sub-folder of `root` that it lies in, at any depth; one in `root` itself is
    unlabelled. Hidden files and folders are left out, links followed. Transparency is dropped, pictures
    turned as their EXIF data say.

    Args:
        root: the folder.
        channels: 1 turns every image grey, 3 to RGB.
        resize: [height, width] that every image is scaled to; None takes them as they are, all of one size.
    """

    root: str
    channels: Literal[1, 3] = 3
    resize: list[Side] | None = None

    def __post_init__(self) -> None:
        if self.resize is not None and len(self.resize) != 2:
            raise InputError(f"dataset.resize={self.resize}: give [height, width]")

    def load(self) -> ImageDataset:
        root = Path(self.root)
        if not root.is_dir():
            raise InputError(f"{root}: no such folder: set dataset.root to the folder of the images")
        paths = sorted(_image_files(root), key=lambda path: path.relative_to(root).parts)
        if not paths:
            raise InputError(f"{root}: no .png, .jpg or .jpeg files in it: set dataset.root")
        folders = [path.relative_to(root).parts[:-1] for path in paths]
        names = sorted({parts[0] for parts in folders if parts})
        number = {name: index for index, name in enumerate(names)}
        numbers = np.array([number[parts[0]] if parts else MISSING for parts in folders], dtype=np.int64)

        gathered = cached(self._key(root, paths), lambda: self._read(paths, numbers))
        labels, class_names = encode_labels(numbers, names)
        return ImageDataset(
            name=root.resolve().name,
            images=gathered.images,
            labels=labels,
            class_names=class_names,
            source=str(root),
            pixel_digest=gathered.pixel_digest,
        )

    def _key(self, root: Path, paths: list[Path]) -> str:
        """By names, sizes and times: opening every file would take about as long as decoding it."""
        stats = [(path, path.stat()) for path in paths if path.exists()]
        files = [[str(path.relative_to(root)), stat.st_size, stat.st_mtime_ns] for path, stat in stats]
        return cache_key("image_folder", str(root.resolve()), files, self.channels, self.resize)

    def _read(self, paths: list[Path], numbers: NDArray[np.int64]) -> Iterator[Block]:
        shape: tuple[int, ...] = ()
        with ThreadPoolExecutor() as pool:  # decoding is not held up by Python's lock
            for first in range(0, len(paths), AT_ONCE):
                span = slice(first, first + AT_ONCE)
                images = list(pool.map(self._decode, paths[span]))
                shape = shape or images[0].shape
                for path, image in zip(paths[span], images, strict=True):
                    if image.shape != shape:
                        raise InputError(
                            f"{path}: {image.shape[0]} x {image.shape[1]} pixels where {paths[0]} has "
                            f"{shape[0]} x {shape[1]}: set dataset.resize=[height,width]"
                        )
                stacked = np.stack(images).transpose(0, 3, 1, 2)
                yield Block(stacked, numbers[span], np.zeros(len(images), dtype=np.bool_))

    def _decode(self, path: Path) -> NDArray[np.uint8]:
        """One image, uint8 [H, W, C]."""
        try:
            with Image.open(path, formats=["PNG", "JPEG"]) as opened:
                limit = Image.MAX_IMAGE_PIXELS
                if limit is not None and opened.width * opened.height > limit:  # Pillow itself only warns
                    raise Image.DecompressionBombError(f"{opened.width} x {opened.height} pixels")
                image: Image.Image = ImageOps.exif_transpose(opened)
                if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip rather than scale
                    image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
                image = image.convert("L" if self.channels == 1 else "RGB")
                if self.resize is not None:
                    height, width = self.resize
                    image = image.resize((width, height), Image.Resampling.LANCZOS)
                return np.asarray(image, dtype=np.uint8).reshape(image.height, image.width, self.channels)
        except Image.DecompressionBombError as error:
            raise InputError(f"{path}: too large to decode safely ({error}): shrink it or take it away") from error
        except (OSError, SyntaxError, ValueError) as error:  # all of which Pillow's decoders raise
            raise InputError(f"{path}: not a readable PNG or JPEG image: mend it or take it away") from error


def _image_files(root: Path) -> Iterator[Path]:
    """Image files under `root`; a folder reached twice, through links, is read once."""
    seen: set[Path] = set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        here = Path(folder)
        real = here.resolve()
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                yield here / name
