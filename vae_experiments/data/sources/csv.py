"""Images as rows of CSV files, such as those of the digit-recogniser competition that the seed reads."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge

from vae_experiments.data.csv_table import Columns, odd_columns, read_columns, read_rows
from vae_experiments.data.dataset import ImageDataset
from vae_experiments.data.labels import encode_labels, seed_unlabelled
from vae_experiments.data.source import Source
from vae_experiments.data.store import Block, cache_key, cached
from vae_experiments.errors import InputError
from vae_experiments.files import digest_file

Side = Annotated[int, Ge(1)]


@dataclass(frozen=True, kw_only=True)
class CSV(Source):
    """A training file and maybe a test file, joined in that order; gzipped or not.

    The first line names the columns. Their order does not matter: the label is found by its name, the
    test file's pixels by those of the training file, and pixel columns that differ only by numbers
    (pixel0, pixel1, ...; 1x1, 1x2, ...) are put in the order of these. An image's pixels follow each
    other row by row, the channels of a pixel together.

    Args:
        train: the first file.
        test: the second, which is the test part where the split asks for one; None for none.
        label_column: its name; a row without a label, or in a file without that column, is unlabelled.
        height, width: of an image; a square if both are None.
        channels: 1 for grey, 3 for RGB.
    """

    train: str
    test: str | None = None
    label_column: str | None = "label"
    height: Side | None = None
    width: Side | None = None
    channels: Literal[1, 3] = 1

    def load(self) -> ImageDataset:
        paths = [Path(self.train)] + ([Path(self.test)] if self.test is not None else [])
        for key, path in zip(("train", "test"), paths, strict=False):
            if not path.is_file():
                hint = "" if key == "train" else ", or to null for none"
                raise InputError(f"{path}: no such file: set dataset.{key}{hint}")
        digests = [digest_file(path) for path in paths]
        key = cache_key("csv", digests, self.label_column, self.height, self.width, self.channels)
        gathered = cached(key, lambda: self._read(paths))
        labels, class_names = encode_labels(seed_unlabelled(gathered.numbers))
        return ImageDataset(
            name="csv",
            images=gathered.images,
            labels=labels,
            class_names=class_names,
            test=gathered.test if self.test is not None else None,
            source=" + ".join(map(str, paths)),
            pixel_digest=gathered.pixel_digest,
        )

    def _read(self, paths: list[Path]) -> Iterator[Block]:
        first = read_columns(paths[0], self.label_column)
        height, width = self._size(paths[0], first)
        order = [first.names[index] for index in first.pixels]
        for number, path in enumerate(paths):
            columns = first
            if number > 0:
                columns = _aligned(path, read_columns(path, self.label_column), order, paths[0])
            for pixels, numbers in read_rows(path, columns):
                images = pixels.reshape(-1, height, width, self.channels).transpose(0, 3, 1, 2)
                yield Block(images, numbers, np.full(len(images), number == 1))

    def _size(self, path: Path, columns: Columns) -> tuple[int, int]:
        n = len(columns.pixels)
        area = n // self.channels
        if self.height is None and self.width is None:
            height = width = isqrt(area)
            wanted = "a square image"
        else:
            height = self.height or area // (self.width or 1)
            width = self.width or area // height
            wanted = f"an image of {height} x {width} pixels"
        if height * width * self.channels != n:
            odd = odd_columns(columns)
            hint = f"is {odd[0]!r} a pixel, or the label (dataset.label_column)?" if odd else ""
            raise InputError(
                f"{path}: line 1: {n} pixel columns do not make {wanted} with {self.channels} "
                f"channel{'s' * (self.channels > 1)}: {hint or 'set dataset.height and dataset.width'}"
            )
        return height, width


def _aligned(path: Path, columns: Columns, order: list[str], first: Path) -> Columns:
    """The columns of a second file, its pixels in the order of the first file's."""
    index = {columns.names[i]: i for i in columns.pixels}
    lacking = [name for name in order if name not in index]
    surplus = [name for name in index if name not in set(order)]
    if lacking or surplus:
        what = f"no column {lacking[0]!r}" if lacking else f"a column {surplus[0]!r} too many"
        raise InputError(f"{path}: line 1: {len(index)} pixel columns, {what}: {first} has {len(order)}")
    return Columns(columns.names, columns.label, [index[name] for name in order])
