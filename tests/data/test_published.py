import gzip
import hashlib
import logging
from pathlib import Path

import numpy as np
import pytest

from vae_experiments.data.download import UnavailableError
from vae_experiments.data.idx import read_idx, write_idx
from vae_experiments.data.published import TEST, TRAIN, Files, PublishedSet
from vae_experiments.errors import InputError

ARRAYS: Files = {
    TRAIN[0]: np.arange(6 * 4, dtype=np.uint8).reshape(6, 2, 2),
    TRAIN[1]: np.array([0, 1, 2, 0, 1, 2], dtype=np.uint8),
    TEST[0]: np.arange(3 * 4, dtype=np.uint8).reshape(3, 2, 2) + 100,
    TEST[1]: np.array([2, 1, 0], dtype=np.uint8),
}


@pytest.fixture
def whole(tmp_path: Path) -> dict[str, bytes]:
    """The four files' bytes."""
    folder = tmp_path / "whole"
    folder.mkdir()
    for name, array in ARRAYS.items():
        write_idx(folder / name, array)
    return {name: (folder / name).read_bytes() for name in ARRAYS}


@pytest.fixture
def serving(mirror, whole: dict[str, bytes]):
    """A mirror that has them all, gzipped."""
    for name, data in whole.items():
        (mirror.folder / f"{name}.gz").write_bytes(gzip.compress(data))
    return mirror


def published(whole: dict[str, bytes], *mirrors: str, last_resort=None, folders: tuple[Path, ...] = ()) -> PublishedSet:
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in whole.items()}
    return PublishedSet("toy", ("a", "b", "c"), digests, mirrors, "use toys", folders, last_resort)


def put(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def test_files_that_are_there_need_no_network_and_nothing_is_written(tmp_path: Path, whole: dict[str, bytes]) -> None:
    gzipped = {f"{name}.gz": gzip.compress(data) for name, data in whole.items()}
    for number, root in enumerate((put(tmp_path / "plain", whole), put(tmp_path / "gzipped", gzipped))):
        before = sorted(root.iterdir())
        dataset = published(whole).load(root)
        assert sorted(root.iterdir()) == before, number
        assert dataset.images.shape == (9, 1, 2, 2)
        assert (dataset.images[6:, 0] == ARRAYS[TEST[0]]).all()
        assert dataset.labels.tolist() == [0, 1, 2, 0, 1, 2, 2, 1, 0]
        assert dataset.test is not None
        assert dataset.test.tolist() == [False] * 6 + [True] * 3
        assert dataset.class_names == {0: "a", 1: "b", 2: "c"}


def test_other_places_on_the_machine_are_looked_at(tmp_path: Path, whole: dict[str, bytes]) -> None:
    installed = put(tmp_path / "usr/share", whole)
    assert len(published(whole, folders=(installed,)).load(tmp_path / "data")) == 9
    assert len(published(whole).load(put(tmp_path / "torchvision/raw", whole).parent)) == 9


def test_missing_files_come_from_the_mirror_once(tmp_path: Path, whole: dict[str, bytes], serving) -> None:
    root = put(tmp_path / "data", {TRAIN[0]: whole[TRAIN[0]]})
    first = published(whole, serving.url).load(root)
    again = published(whole, serving.url).load(root)

    assert sorted(serving.requests) == sorted(f"{name}.gz" for name in whole if name != TRAIN[0])
    assert {name: (root / name).read_bytes() for name in whole} == whole
    assert first.digest == again.digest


def test_a_mirror_with_other_files_is_passed_over(tmp_path: Path, whole: dict[str, bytes], serving, caplog) -> None:
    put(serving.folder / "bad", {f"{name}.gz": gzip.compress(data + b"!") for name, data in whole.items()})
    root = tmp_path / "data"
    dataset = published(whole, serving.url + "missing/", serving.url + "bad/", serving.url).load(root)
    assert len(dataset) == 9
    assert {name: (root / name).read_bytes() for name in whole} == whole


@pytest.mark.parametrize("kept", [10, 30, -1])
def test_a_half_written_file_is_never_taken_for_a_whole_one(
    tmp_path: Path, whole: dict[str, bytes], serving, caplog, kept: int
) -> None:
    half = whole[TRAIN[0]][:kept]
    root = put(tmp_path / "data", {**whole, TRAIN[0]: half, f".{TRAIN[0]}.part": half})
    with caplog.at_level(logging.WARNING):
        dataset = published(whole, serving.url).load(root)
    assert (dataset.images[:6, 0] == ARRAYS[TRAIN[0]]).all()
    assert "truncated" in caplog.text
    assert (root / f"{TRAIN[0]}.bad").read_bytes() == half  # whatever it was, it was not ours to throw away


def test_a_half_gzipped_file_is_no_whole_one_either(tmp_path: Path, whole: dict[str, bytes], serving) -> None:
    half = gzip.compress(whole[TRAIN[0]])[:-12]
    files = {name: data for name, data in whole.items() if name != TRAIN[0]}
    root = put(tmp_path / "data", {**files, f"{TRAIN[0]}.gz": half})
    assert (published(whole, serving.url).load(root).images[:6, 0] == ARRAYS[TRAIN[0]]).all()


def test_the_last_resort_is_asked_when_no_mirror_has_it(tmp_path: Path, whole: dict[str, bytes], mirror) -> None:
    root = tmp_path / "data"
    assert len(published(whole, mirror.url, last_resort=lambda: ARRAYS).load(root)) == 9
    assert (read_idx(root / TRAIN[0], 3) == ARRAYS[TRAIN[0]]).all()
    assert len(published(whole).load(root)) == 9  # from now on without a network


def test_a_last_resort_with_other_images_is_refused(tmp_path: Path, whole: dict[str, bytes]) -> None:
    wrong = {name: array[::-1] for name, array in ARRAYS.items()}
    with pytest.raises(InputError, match="not the published file"):
        published(whole, last_resort=lambda: wrong).load(tmp_path / "data")


def test_with_nothing_in_reach_one_line_gives_every_reason_and_the_way_out(tmp_path: Path, whole, mirror) -> None:
    def last_resort() -> Files:
        raise UnavailableError("no index")

    root = put(tmp_path / "data", {TEST[1]: b""})
    with pytest.raises(InputError) as caught:
        published(whole, mirror.url, last_resort=last_resort).load(root)
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        "train-images-idx3-ubyte",
        str(root),
        "127.0.0.1: HTTP status 404",
        "no index",
        "empty",
        "use toys",
    ):
        assert part in message


def test_a_root_that_cannot_be_written_is_the_users_to_change(tmp_path: Path, whole: dict[str, bytes]) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputError, match=r"toy: .*file/data cannot be written .*dataset\.root"):
        published(whole, last_resort=lambda: ARRAYS).load(tmp_path / "file" / "data")


def test_two_processes_starting_at_once_fetch_each_file_once(
    tmp_path: Path, whole: dict[str, bytes], serving, at_once
) -> None:
    outputs = at_once(f"""
from pathlib import Path
from vae_experiments.data.published import PublishedSet
toys = {published(whole, serving.url)!r}
go()
print(toys.load(Path({str(tmp_path / "data")!r})).digest)
""")
    assert outputs[0] == outputs[1] != ""
    assert sorted(serving.requests) == sorted(f"{name}.gz" for name in whole)
