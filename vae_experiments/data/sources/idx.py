"""Any folder of IDX files with MNIST's names."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vae_experiments.data.dataset import ImageDataset
from vae_experiments.data.idx import idx_blocks, idx_shape, read_idx
from vae_experiments.data.labels import MISSING, encode_labels
from vae_experiments.data.layout import channel_axis, to_nchw
from vae_experiments.data.published import TEST, TRAIN
from vae_experiments.data.source import Source
from vae_experiments.data.store import Block, cache_key, gather
from vae_experiments.errors import InputError
from vae_experiments.files import digest_file


@dataclass(frozen=True, kw_only=True)
class IDX(Source):
    """Images and labels as train-images-idx3-ubyte and so on, gzipped or not.

    The test files (t10k-...) and the labels of either part may be missing. Images may have three axes
    or, in colour, four.

    Args:
        root: the folder.
    """

    root: str

    def load(self) -> ImageDataset:
        root = Path(self.root)
        if not root.is_dir():
            raise InputError(f"{root}: no such folder: set dataset.root to the folder of the IDX files")
        train = _locate(root, TRAIN[0])
        if train is None:
            raise InputError(f"{root}: holds no {TRAIN[0]}, with or without .gz: set dataset.root")
        test = _locate(root, TEST[0])
        parts = [(train, _locate(root, TRAIN[1]), False)]
        if test is not None:
            parts.append((test, _locate(root, TEST[1]), True))

        shape = idx_shape(train, 3, 4)
        if test is not None and idx_shape(test, 3, 4)[1:] != shape[1:]:
            raise InputError(f"{test}: images of {idx_shape(test, 3, 4)[1:]} where {train} has {shape[1:]}")
        rows = sum(idx_shape(images, 3, 4)[0] for images, _, _ in parts)
        if rows == 0:
            raise InputError(f"{train}: holds no images")

        def key() -> str:
            digests = [[path and digest_file(path) for path in part[:2]] for part in parts]
            return cache_key("idx", digests)

        def read() -> Iterator[Block]:
            axis = channel_axis(shape, str(train))
            for images, labels, is_test in parts:
                numbers = _numbers(images, labels)
                done = 0
                for piece in idx_blocks(images, 3, 4):
                    span = slice(done, done + len(piece))
                    yield Block(to_nchw(piece, axis), numbers[span], np.full(len(piece), is_test))
                    done = span.stop

        gathered = gather(rows * int(np.prod(shape[1:], dtype=np.int64)), key, read)
        labels, class_names = encode_labels(gathered.numbers)
        return ImageDataset(
            name=root.resolve().name,
            images=gathered.images,
            labels=labels,
            class_names=class_names,
            test=gathered.test if test is not None else None,
            source=str(root),
            pixel_digest=gathered.pixel_digest,
        )


def _locate(root: Path, name: str) -> Path | None:
    """The file under either spelling in use, or None."""
    spellings = (name, name.replace("-idx", ".idx"))
    paths = (root / (spelling + suffix) for spelling in spellings for suffix in ("", ".gz"))
    return next((path for path in paths if path.is_file()), None)


def _numbers(images: Path, labels: Path | None) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    n = idx_shape(images, 3, 4)[0]
    if labels is None:
        return np.full(n, MISSING, dtype=np.int64)
    numbers = read_idx(labels, 1)
    if len(numbers) != n:
        raise InputError(f"{labels}: {len(numbers)} labels for the {n} images of {images}")
    return numbers.astype(np.int64).reshape(n)
