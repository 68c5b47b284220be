import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vae_experiments.data import csv_table
from vae_experiments.data.dataset import UNLABELLED, ImageDataset
from vae_experiments.data.prepare import prepare
from vae_experiments.data.sources.csv import CSV
from vae_experiments.data.splits import Holdout
from vae_experiments.errors import InputError

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 9), dtype=np.uint8)
LABELS = np.arange(12) % 10
NAMES = [f"pixel{index}" for index in range(9)]


def frame(rows: slice = slice(None), label: bool = True) -> pd.DataFrame:
    table = pd.DataFrame(PIXELS[rows], columns=NAMES)
    if label:
        table.insert(0, "label", LABELS[rows])
    return table


def save(table: pd.DataFrame, name: str = "train.csv") -> str:
    table.to_csv(name, index=False)
    return name


def load(train: str, test: str | None = None, **options: object) -> ImageDataset:
    return CSV(train=train, test=test, split=Holdout(size=4), **options).load()


def pixels(dataset: ImageDataset) -> np.ndarray:
    return dataset.images.reshape(len(dataset), -1)


def edited(row: int, column: str, value: object) -> str:
    """A file with that one field changed; rows count from 1."""
    table = frame().astype(object)
    table.loc[row - 1, column] = value
    return save(table)


def test_train_and_test_are_joined_and_rows_without_a_label_are_the_class_11() -> None:
    dataset = load(save(frame(slice(0, 8))), save(frame(slice(8, None), label=False), "test.csv"))

    assert dataset.images.shape == (12, 1, 3, 3)
    assert (pixels(dataset) == PIXELS).all()
    assert dataset.labels.tolist() == [*LABELS[:8].tolist(), 11, 11, 11, 11]
    assert UNLABELLED == 11
    assert dataset.class_names == {label: str(label) for label in range(8)}
    assert dataset.test is not None
    assert dataset.test.tolist() == [False] * 8 + [True] * 4
    assert dataset.source == "train.csv + test.csv"


def test_the_seeds_split_comes_out_of_the_seeds_files() -> None:
    train, test = frame(slice(0, 8)), frame(slice(8, None), label=False)
    data = pd.concat([train, test.assign(label=11)], ignore_index=True)
    valid = data.sample(n=4, random_state=99)

    split = Holdout(size=4, seed=99)
    prepared = prepare(CSV(train=save(train), test=save(test, "test.csv"), split=split), seed=0)

    assert (pixels(prepared.dataset)[prepared.parts.val] == valid[NAMES].to_numpy()).all()
    assert prepared.dataset.labels[prepared.parts.val].tolist() == valid["label"].tolist()


def test_a_train_file_alone_has_no_test_part() -> None:
    dataset = load(save(frame()))
    assert dataset.test is None
    assert len(dataset) == 12


def test_gzipped_files_are_read_by_what_is_in_them() -> None:
    plain = load(save(frame()))
    frame().to_csv("other.csv.gz", index=False)
    frame().to_csv("misnamed.csv", index=False, compression="gzip")
    assert load("other.csv.gz").digest == load("misnamed.csv").digest == plain.digest


@pytest.mark.parametrize("order", [[*NAMES, "label"], [*NAMES[5:], "label", *NAMES[:5]], [*NAMES[::-1], "label"]])
def test_the_order_of_columns_does_not_matter(order: list[str]) -> None:
    assert load(save(frame()[order])).digest == load(save(frame(), "plain.csv")).digest


def test_pixel_names_of_two_numbers_are_put_in_order_too() -> None:
    names = [f"{row}x{column}" for row in range(1, 4) for column in range(1, 4)]
    table = frame().rename(columns=dict(zip(NAMES, names, strict=True)))
    assert (
        load(save(table[["label", *sorted(names, key=lambda name: name[::-1])]])).digest
        == load(save(frame(), "plain.csv")).digest
    )


def test_other_pixel_names_stay_in_the_files_order_and_the_test_files_follow_them() -> None:
    names = [*"hijabcdef"]
    table = frame().rename(columns=dict(zip(NAMES, names, strict=True)))
    dataset = load(save(table[:8]), save(table[8:][sorted(names)], "test.csv"))
    assert (pixels(dataset) == PIXELS).all()


def test_no_label_column_at_all() -> None:
    dataset = load(save(frame(label=False)))
    assert set(dataset.labels.tolist()) == {UNLABELLED}
    assert dataset.class_names == {}


def test_another_label_column_and_rows_that_lack_a_label() -> None:
    table = frame().rename(columns={"label": "digit"}).astype({"digit": object})
    table.loc[[1, 3], "digit"] = [None, "NaN"]
    labels = load(save(table), label_column="digit").labels
    assert labels[[1, 3]].tolist() == [UNLABELLED] * 2
    assert (np.delete(labels, [1, 3]) == np.delete(LABELS, [1, 3])).all()


def test_a_written_11_is_unlabelled_as_in_the_seed() -> None:
    dataset = load(edited(2, "label", 11))
    assert dataset.labels[1] == UNLABELLED
    assert UNLABELLED not in dataset.class_names


def test_numbers_written_in_other_ways_are_the_same_numbers() -> None:
    plain = load(save(frame()))
    assert load(save(frame().astype(float), "floats.csv")).digest == plain.digest
    text = Path("train.csv").read_text()
    Path("spaced.csv").write_text(text.replace(",", ", "))
    Path("windows.csv").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode() + b"\r\n\r\n")
    Path("quoted.csv").write_text("\n".join(",".join(f'"{f}"' for f in line.split(",")) for line in text.split()))
    assert {load(f"{name}.csv").digest for name in ("spaced", "windows", "quoted")} == {plain.digest}


def test_colour_and_oblong_images() -> None:
    assert load(save(frame()), channels=3, height=1).images.shape == (12, 3, 1, 3)
    assert load("train.csv", channels=3, width=3).images[0, :, 0, 1].tolist() == PIXELS[0, 3:6].tolist()
    assert load("train.csv", height=1, width=9).images.shape == (12, 1, 1, 9)


def test_one_image_loads() -> None:
    assert len(load(save(frame(slice(0, 1))))) == 1


def test_the_second_load_comes_from_the_cache_and_the_same_content_elsewhere_too(monkeypatch) -> None:
    first = load(save(frame()))

    def fail(*_: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr("vae_experiments.data.sources.csv.read_rows", fail)
    assert load("train.csv").digest == first.digest
    assert load(save(frame(), "copy.csv")).digest == first.digest
    with pytest.raises(AssertionError, match="read again"):
        load(edited(1, "pixel0", int(PIXELS[0, 0]) ^ 1))


@pytest.mark.parametrize("value", ["abc", "", "NaN", "-1", "256", "12.5", "1e3", "inf", "1_0"])
@pytest.mark.parametrize(("row", "column"), [(1, "pixel0"), (7, "pixel4"), (12, "pixel8")])
def test_what_is_no_pixel_is_named_with_file_row_and_column(row: int, column: str, value: str) -> None:
    path = edited(row, column, value)
    with pytest.raises(InputError, match=rf"^train\.csv: row {row}, column '{column}': '{value}' is not a whole"):
        load(path)


def test_a_bad_row_far_into_the_file_keeps_its_number(monkeypatch) -> None:
    monkeypatch.setattr(csv_table, "ARROW_BYTES", 200)  # so that rows before it were read already
    with pytest.raises(InputError, match=r"row 11, column 'pixel3': '999'"):
        load(edited(11, "pixel3", 999))


@pytest.mark.parametrize("value", ["cat", "-1", "1.5"])
def test_what_is_no_class_is_named_with_file_row_and_column(value: str) -> None:
    path = edited(5, "label", value)
    with pytest.raises(InputError, match=rf"^train\.csv: row 5, column 'label': '{value}' is not a class number"):
        load(path)


@pytest.mark.parametrize(("change", "fields"), [(lambda line: line + ",1", 11), (lambda line: line[:-4], 9)])
def test_a_ragged_row_is_named(change, fields: int) -> None:
    lines = Path(save(frame())).read_text().splitlines()
    lines[4] = change("3" + ",100" * 9)
    Path("train.csv").write_text("\n".join(lines))
    with pytest.raises(InputError, match=rf"^train\.csv: row 4: {fields} fields where the header has 10"):
        load("train.csv")


def test_the_second_file_is_named_when_it_is_the_bad_one() -> None:
    Path("test.csv").write_text(",".join(NAMES) + "\n" + ",".join(["1"] * 8 + ["x"]))
    with pytest.raises(InputError, match=r"^test\.csv: row 1, column 'pixel8': 'x'"):
        load(save(frame()), "test.csv")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ("label,pixel0,pixel1,pixel2,pixel3\n", "a header, but no rows"),
        ("5,0,0,12,0\n3,0,0,9,1\n", "no header: line 1 holds numbers"),
        ("label,p0,p1,p1,p3\n1,0,0,0,0\n", "line 1: column 'p1' occurs 2 times"),
        ("label,p0,p1,p2\n1,0,0,0\n", "line 1: 3 pixel columns do not make a square image .*dataset.height"),
        ("id,label,p0,p1,p2,p3\n7,1,0,0,0,0\n", "line 1: 5 pixel columns do not make .* is 'id' a pixel"),
        ("Label,p0,p1,p2,p3\n7,1,0,0,0\n", "line 1: 5 pixel columns .* 'Label' .*dataset.label_column"),
        ("label\n1\n", "line 1: no pixel columns beside 'label'"),
        ("label;pixel0\n1;2\n", "line 1: one column only"),
    ],
)
def test_a_file_that_is_no_table_of_images_is_named(text: str, fault: str) -> None:
    Path("train.csv").write_text(text)
    with pytest.raises(InputError, match=rf"^train\.csv: {fault}") as caught:
        load("train.csv")
    assert "\n" not in str(caught.value)


def test_a_header_of_plain_numbers_in_order_is_a_header() -> None:
    table = frame(label=False)
    table.columns = [str(index) for index in range(9)]
    assert (pixels(load(save(table))) == PIXELS).all()


def test_a_test_file_of_other_pixels_is_named() -> None:
    other = frame(label=False)
    with pytest.raises(InputError, match=r"^test\.csv: line 1: 8 pixel columns, no column 'pixel8': train\.csv has 9"):
        load(save(frame()), save(other.drop(columns="pixel8"), "test.csv"))
    with pytest.raises(InputError, match=r"^test\.csv: line 1: 10 pixel columns, a column 'more' too many"):
        load("train.csv", save(other.assign(more=0), "test.csv"))


def test_missing_files_are_named_with_their_key() -> None:
    with pytest.raises(InputError, match=r"^train\.csv: no such file: set dataset\.train"):
        load("train.csv")
    with pytest.raises(InputError, match=r"^test\.csv: no such file: set dataset\.test, or to null"):
        load(save(frame()), "test.csv")


@pytest.mark.parametrize("cut", [5, 60, -5])
def test_a_truncated_gzip_file_is_named(cut: int) -> None:
    Path("train.csv.gz").write_bytes(gzip.compress(Path(save(frame())).read_bytes())[:cut])
    with pytest.raises(InputError, match=r"^train\.csv\.gz: truncated gzip file"):
        load("train.csv.gz")


def test_a_file_that_is_no_text_is_named() -> None:
    Path("train.csv").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe\x00")
    with pytest.raises(InputError, match=r"^train\.csv: not a text file"):
        load("train.csv")


def test_fewer_images_than_the_holdout() -> None:
    with pytest.raises(InputError, match="dataset csv has 12 images, too few to hold out 5000"):
        prepare(CSV(train=save(frame()), split=Holdout()), seed=0)


def test_two_processes_starting_at_once_read_the_same(at_once) -> None:
    save(frame())
    outputs = at_once("""
from vae_experiments.data.sources.csv import CSV
from vae_experiments.data.splits import Holdout
source = CSV(train="train.csv", split=Holdout(size=4))
go()
print(source.load().digest)
""")
    assert outputs == [load("train.csv").digest + "\n"] * 2
