import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from vae_experiments.data import store
from vae_experiments.data.store import Block, Gathered, cache_key, cached, gather

IMAGES = np.random.default_rng(0).integers(0, 256, (10, 3, 4, 5), dtype=np.uint8)


class Reader:
    """Gives the images in two blocks and counts how often it was asked."""

    def __init__(self) -> None:
        self.reads = 0

    def __call__(self) -> Iterator[Block]:
        self.reads += 1
        for rows in (slice(0, 6), slice(6, 10)):
            yield Block(IMAGES[rows], np.arange(10)[rows], np.arange(10)[rows] > 7)


def check(gathered: Gathered) -> None:
    assert (gathered.images == IMAGES).all()
    assert gathered.numbers.tolist() == list(range(10))
    assert gathered.test.tolist() == [False] * 8 + [True] * 2


def entry(tmp_path: Path, key: str) -> Path:
    return tmp_path / "cache/vae-experiments/images" / key


def test_a_second_start_reads_the_cache() -> None:
    reader = Reader()
    check(cached("key", reader))
    check(cached("key", reader))
    assert reader.reads == 1


def test_the_key_tells_sources_apart() -> None:
    assert cache_key("csv", 1, None) == cache_key("csv", 1, None) != cache_key("csv", None, 1)


@pytest.mark.parametrize("damage", ["images.u8", "rows.npz", "meta.json"])
@pytest.mark.parametrize("how", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"x" + data[1:]])
def test_a_damaged_entry_is_made_again(tmp_path: Path, damage: str, how: Callable[[bytes], bytes]) -> None:
    reader = Reader()
    cached("key", reader)
    path = entry(tmp_path, "key") / damage
    path.write_bytes(how(path.read_bytes()))
    check(cached("key", reader))
    check(cached("key", reader))
    assert reader.reads == 2


def test_what_a_killed_process_left_is_not_an_entry(tmp_path: Path) -> None:
    part = entry(tmp_path, "key.part")
    part.mkdir(parents=True)
    (part / "images.u8").write_bytes(b"half")
    check(cached("key", Reader()))
    assert not part.exists()


def test_an_unusable_cache_costs_only_time(tmp_path: Path, monkeypatch, caplog) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    reader = Reader()
    check(cached("key", reader))
    check(cached("key", reader))
    assert reader.reads == 2
    assert "no cache in" in caplog.text


def test_an_error_of_the_source_is_its_own_and_leaves_nothing(tmp_path: Path) -> None:
    def blocks() -> Iterator[Block]:
        yield next(Reader()())
        raise FileNotFoundError("the source's")

    with pytest.raises(FileNotFoundError, match="the source's"):
        cached("key", blocks)
    assert [path.name for path in entry(tmp_path, "").iterdir()] == ["key.lock"]


def test_large_images_are_memory_mapped_and_small_ones_are_not(tmp_path: Path, monkeypatch) -> None:
    reader = Reader()
    small = gather(IMAGES.nbytes, lambda: "small", reader)
    check(small)
    assert not isinstance(small.images, np.memmap)
    assert not entry(tmp_path, "small").exists()

    monkeypatch.setattr(store, "MEMORY_MAP_BYTES", IMAGES.nbytes - 1)
    large = gather(IMAGES.nbytes, lambda: "large", reader)
    check(large)
    assert isinstance(large.images, np.memmap)
    assert large.pixel_digest is not None
    shutil.rmtree(entry(tmp_path, ""))  # a mapped file may go while it is in use
    check(large)


def test_two_processes_starting_at_once_make_one_entry(tmp_path: Path, at_once) -> None:
    outputs = at_once(f"""
import numpy as np, pathlib, time
from vae_experiments.data.store import Block, cached
def blocks():
    with open({str(tmp_path / "reads")!r}, "a") as file:
        file.write("x")
    time.sleep(0.2)
    yield Block(np.ones((2, 1, 2, 2), np.uint8), np.arange(2), np.zeros(2, bool))
go()
print(cached("key", blocks).images.sum())
""")
    assert outputs == ["8\n", "8\n"]
    assert (tmp_path / "reads").read_text() == "x"
