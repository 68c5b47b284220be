"""CSV files of images: one row an image, one column a pixel, and maybe one with labels.

Well-formed files go through Arrow. Where Arrow or a check of ours objects, the rest of the file is read
again row by row, which either finds the row and column to blame or, where the numbers are merely
written in another way (12.0, " 12"), reads them.
"""

import csv
import gzip
import logging
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isnan, nan
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from vae_experiments.data.labels import MISSING
from vae_experiments.errors import InputError
from vae_experiments.files import is_gzip

ARROW_BYTES = 1 << 24  # of text at a time
PLAIN_ROWS = 1024  # the same for the row-by-row reader
NO_LABEL = {"", "nan", "na", "n/a", "null", "none", "#n/a"}  # in lower case, as pandas reads them

log = logging.getLogger(__name__)

Rows = tuple[NDArray[np.uint8], NDArray[np.int64]]  # pixels [n, P], class numbers [n]


@dataclass(frozen=True)
class Columns:
    """A file's header: every name, where the label is, and the pixels in the order of the image."""

    names: list[str]
    label: int | None
    pixels: list[int]


def read_columns(path: Path, label_column: str | None) -> Columns:
    """Reads the header. Pixel columns that differ only by numbers are put in the order of these."""
    with _text(path) as file:
        names = [name.strip() for name in next(_lines(path, file), [])]
    if not any(names):
        raise InputError(f"{path}: empty")
    numeric = [name for name in names if not isnan(_number(name))]
    counts = (set(map(str, range(len(names)))), set(map(str, range(1, len(names) + 1))))
    if len(numeric) == len(names) and set(names) not in counts:
        raise InputError(f"{path}: no header: line 1 holds numbers; put the column names there")
    for name, times in Counter(names).items():
        if times > 1:
            raise InputError(f"{path}: line 1: column {name!r} occurs {times} times")
    label = names.index(label_column) if label_column in names else None
    pixels = [index for index in range(len(names)) if index != label]
    if len(names) == 1 and re.search(r"[;\t|]", names[0]):
        raise InputError(f"{path}: line 1: one column only, {names[0][:40]!r}; put commas between the fields")
    if not pixels:
        raise InputError(f"{path}: line 1: no pixel columns beside {label_column!r}")
    if len({_pattern(names[index]) for index in pixels}) == 1:
        pixels.sort(key=lambda index: [int(number) for number in re.findall(r"\d+", names[index])])
    return Columns(names, label, pixels)


def odd_columns(columns: Columns) -> list[str]:
    """Pixel columns not named like most of them: likely no pixels at all."""
    patterns = {index: _pattern(columns.names[index]) for index in columns.pixels}
    usual = Counter(patterns.values()).most_common(1)[0][0]
    return [columns.names[index] for index, pattern in patterns.items() if pattern != usual]


def read_rows(path: Path, columns: Columns) -> Iterator[Rows]:
    """The rows in order, by blocks. Raises InputError naming file, row (from 1) and column."""
    from pyarrow import ArrowException  # here, so that a start from the cache need not import it

    done = 0
    try:
        for pixels, numbers in _arrow_rows(path, columns):
            yield pixels, numbers
            done += len(pixels)
    except (ArrowException, _ObjectionError, OSError, EOFError, zlib.error):
        log.debug("%s: not all plain whole numbers: reading it row by row", path)
        for pixels, numbers in _plain_rows(path, columns, done):
            yield pixels, numbers
            done += len(pixels)
    if done == 0:
        raise InputError(f"{path}: a header, but no rows")


class _ObjectionError(Exception):
    """Something that the row-by-row reader has to look at."""


def _arrow_rows(path: Path, columns: Columns) -> Iterator[Rows]:
    import pyarrow
    from pyarrow import csv as arrow_csv

    types = {name: pyarrow.uint8() for name in columns.names}
    if columns.label is not None:
        types[columns.names[columns.label]] = pyarrow.float64()
    with gzip.open(path, "rb") if is_gzip(path) else path.open("rb") as file:
        reader = arrow_csv.open_csv(
            file,
            read_options=arrow_csv.ReadOptions(block_size=ARROW_BYTES, column_names=columns.names, skip_rows=1),
            convert_options=arrow_csv.ConvertOptions(column_types=types),
        )
        for batch in reader:
            by_pixel = np.empty((len(columns.pixels), batch.num_rows), dtype=np.uint8)
            for row, index in enumerate(columns.pixels):
                column = batch.column(index)
                if column.null_count:
                    raise _ObjectionError
                by_pixel[row] = column.to_numpy()
            if columns.label is None:
                numbers = np.full(batch.num_rows, MISSING, dtype=np.int64)
            else:
                labels = batch.column(columns.label).to_numpy(zero_copy_only=False)
                missing = np.isnan(labels)
                if not (missing | ((labels >= 0) & (labels < 2**31) & (labels == np.floor(labels)))).all():
                    raise _ObjectionError
                numbers = np.where(missing, MISSING, labels).astype(np.int64)
            yield np.ascontiguousarray(by_pixel.T), numbers


def _plain_rows(path: Path, columns: Columns, skip: int) -> Iterator[Rows]:
    pixels: list[NDArray[np.uint8]] = []
    numbers: list[int] = []
    with _text(path) as file:
        lines = _lines(path, file)
        next(lines)
        row = 0
        for fields in lines:
            row += 1
            if row <= skip:
                continue
            if len(fields) != len(columns.names):
                raise InputError(f"{path}: row {row}: {len(fields)} fields where the header has {len(columns.names)}")
            where = f"{path}: row {row}, column"
            pixels.append(_parse_pixels(fields, columns, where))
            numbers.append(_parse_label(fields, columns, where))
            if len(pixels) == PLAIN_ROWS:
                yield np.stack(pixels), np.array(numbers, dtype=np.int64)
                pixels, numbers = [], []
    if pixels:
        yield np.stack(pixels), np.array(numbers, dtype=np.int64)


def _parse_pixels(fields: list[str], columns: Columns, where: str) -> NDArray[np.uint8]:
    values = [_number(fields[index]) for index in columns.pixels]
    pixels = np.array(values)
    bad = ~((pixels >= 0) & (pixels <= 255) & (pixels == np.floor(pixels)))
    if bad.any():
        index = columns.pixels[int(np.argmax(bad))]
        name, text = columns.names[index], fields[index][:40]
        raise InputError(f"{where} {name!r}: {text!r} is not a whole number from 0 to 255")
    return pixels.astype(np.uint8)


def _parse_label(fields: list[str], columns: Columns, where: str) -> int:
    if columns.label is None or (text := fields[columns.label].strip()).lower() in NO_LABEL:
        return MISSING
    number = _number(text)
    if not (0 <= number < 2**31 and number.is_integer()):
        name = columns.names[columns.label]
        raise InputError(f"{where} {name!r}: {text[:40]!r} is not a class number (0, 1, ...)")
    return int(number)


def _number(text: str) -> float:
    """The number written there; not a number where there is none."""
    try:
        return float(text) if "_" not in text else nan  # Python reads 1_000, no other program does
    except ValueError:
        return nan


def _pattern(name: str) -> str:
    return re.sub(r"\d+", "#", name)


def _lines(path: Path, file: TextIO) -> Iterator[list[str]]:
    """Fields of every line that is not blank."""
    reader = csv.reader(file)
    try:
        yield from (fields for fields in reader if fields)
    except csv.Error as error:
        raise InputError(f"{path}: line {reader.line_num}: {error}") from error


@contextmanager
def _text(path: Path) -> Iterator[TextIO]:
    try:
        opener = gzip.open if is_gzip(path) else open
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            yield file
    except EOFError as error:
        raise InputError(f"{path}: truncated gzip file; get it again") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: damaged gzip file ({error}); get it again") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file in UTF-8 (byte {error.start})") from error
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
