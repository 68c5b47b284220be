"""Arrays in a NumPy archive."""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from vae_experiments.data.dataset import ImageDataset, image_blocks
from vae_experiments.data.labels import MISSING, encode_labels
from vae_experiments.data.layout import channel_axis, to_nchw
from vae_experiments.data.source import Source
from vae_experiments.data.store import Block, cache_key, gather
from vae_experiments.errors import InputError
from vae_experiments.files import digest_file

# images, labels and whether they are the test part, in the two conventions in use
PLAIN = (("images", "labels", False),)
KERAS = (("x_train", "y_train", False), ("x_test", "y_test", True))


@dataclass(frozen=True, kw_only=True)
class NPZ(Source):
    """Images and labels from an .npz file: `images` and `labels`, or x_train, y_train, x_test, y_test.

    Images are whole numbers from 0 to 255, [N, H, W], [N, H, W, C] or [N, C, H, W]. Labels, and the
    test part, may be missing. The archive is read without pickle.

    Args:
        path: the file.
    """

    path: str

    def load(self) -> ImageDataset:
        path = Path(self.path)
        with _archive(path) as archive:
            convention = PLAIN if "images" in archive.files else KERAS
            if convention[0][0] not in archive.files:
                held = ", ".join(map(repr, archive.files[:8])) or "nothing"
                raise InputError(f"{path}: holds {held}; expected 'images' (and 'labels') or 'x_train', ...")
            parts = [
                (member, *_part(path, archive, member, label_member), is_test)
                for member, label_member, is_test in convention
                if member in archive.files
            ]

        shape = parts[0][1].shape
        for member, images, _, _ in parts:
            if images.shape[1:] != shape[1:]:
                raise InputError(
                    f"{path}: member {member!r}: images of {images.shape[1:]}, where others are {shape[1:]}"
                )
        axis = channel_axis(shape, f"{path}: member {parts[0][0]!r}")
        if sum(len(images) for _, images, _, _ in parts) == 0:
            raise InputError(f"{path}: member {parts[0][0]!r} holds no images")

        def read() -> Iterator[Block]:
            for member, images, numbers, is_test in parts:
                for span in image_blocks(images):
                    piece = _bytes(path, member, images[span], span.start)
                    yield Block(to_nchw(piece, axis), numbers[span], np.full(len(piece), is_test))

        nbytes = sum(images.size for _, images, _, _ in parts)
        gathered = gather(nbytes, lambda: cache_key("npz", digest_file(path)), read)
        labels, class_names = encode_labels(gathered.numbers)
        return ImageDataset(
            name=path.stem,
            images=gathered.images,
            labels=labels,
            class_names=class_names,
            test=gathered.test if len(parts) > 1 else None,
            source=str(path),
            pixel_digest=gathered.pixel_digest,
        )


@contextmanager
def _archive(path: Path) -> Iterator[NpzFile]:
    if not path.is_file():
        raise InputError(f"{path}: no such file: set dataset.path")
    with path.open("rb") as file:
        try:
            archive = np.load(file, allow_pickle=False)
        except EOFError:
            raise InputError(f"{path}: empty") from None
        except (ValueError, OSError, zipfile.BadZipFile) as error:
            raise InputError(f"{path}: not an .npz archive, or a truncated one") from error
        if not isinstance(archive, NpzFile):
            raise InputError(f"{path}: a single array; expected an .npz archive with a member 'images'")
        yield archive


def _member(path: Path, archive: NpzFile, member: str) -> NDArray[np.generic]:
    try:
        array: object = archive[member]
    except MemoryError as error:
        raise InputError(f"{path}: member {member!r} does not fit into memory") from error
    except ValueError as error:  # among others where only unpickling could read it
        raise InputError(f"{path}: member {member!r}: {str(error).splitlines()[0]}") from error
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: member {member!r} is damaged or truncated") from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path}: member {member!r} is not an array")
    return array


def _part(
    path: Path, archive: NpzFile, member: str, label_member: str
) -> tuple[NDArray[np.generic], NDArray[np.int64]]:
    images = _member(path, archive, member)
    if images.dtype.kind not in "ui":
        raise InputError(
            f"{path}: member {member!r} holds {images.dtype}; expected whole numbers from 0 to 255 (uint8)"
        )
    channel_axis(images.shape, f"{path}: member {member!r}")
    if label_member not in archive.files:
        return images, np.full(len(images), MISSING, dtype=np.int64)
    labels = _member(path, archive, label_member)
    if labels.dtype.kind not in "ui" or labels.size != len(images) or labels.shape[:1] != (len(images),):
        raise InputError(
            f"{path}: member {label_member!r} is {labels.dtype} of shape {labels.shape}; "
            f"expected one whole number for each of the {len(images)} images"
        )
    numbers = labels.astype(np.int64).reshape(-1)
    if (numbers < 0).any():
        row = int(np.argmax(numbers < 0))
        where = f"{path}: member {label_member!r}, entry {row}"
        raise InputError(f"{where}: {numbers[row]} is not a class number (0, 1, ...)")
    return images, numbers


def _bytes(path: Path, member: str, images: NDArray[np.generic], first: int) -> NDArray[np.uint8]:
    if images.dtype == np.uint8:
        return images.astype(np.uint8, copy=False)
    wide = images.astype(np.int64)
    outside = (wide < 0) | (wide > 255)
    if outside.any():
        row = int(np.argmax(outside.reshape(len(wide), -1).any(axis=1)))
        value = wide[row][outside[row]][0]
        raise InputError(f"{path}: member {member!r}, image {first + row}: {value} is outside 0-255")
    return wide.astype(np.uint8)
