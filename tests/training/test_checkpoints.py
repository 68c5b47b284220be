"""A checkpoint is whole or refused; a crash at any moment leaves one that can be continued."""

import os
import pickle
import resource
import signal
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vae_experiments.errors import InputError, RunFailed
from vae_experiments.training.checkpoints import (
    BEST,
    FORMAT,
    LAST,
    PREVIOUS,
    digest,
    load_checkpoint,
    load_latest,
    save_checkpoint,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "checkpoints"
    made.mkdir()
    return made


def content(epoch: int = 1) -> dict[str, Any]:
    """One of every kind of thing that a checkpoint carries."""
    generator = torch.Generator().manual_seed(epoch)
    return {
        "config": {"seed": 3, "name": None, "filters": [4, 8], "lr": 1e-3, "on": True},
        "state": {
            "epoch": epoch,
            "vae": {"weight": torch.randn(64, 32, generator=generator), "step": torch.tensor(7)},
            "optimizer": {0: {"exp_avg": torch.randn(3, 1, 5, generator=generator).bfloat16()}},
            "generator": generator.get_state(),
            "sums": torch.zeros(4, dtype=torch.float64),
            "nothing": torch.empty(0, 3),
            "best_value": float("-inf"),
            "betas": (0.9, 0.999),
        },
    }


def epoch_of(loaded: dict[str, Any] | None) -> int | None:
    return None if loaded is None else int(loaded["state"]["epoch"])


def test_what_is_saved_comes_back(folder: Path) -> None:
    save_checkpoint(folder / "new" / "folder", content())
    loaded = load_checkpoint(folder / "new" / "folder" / LAST)
    assert digest(loaded) == digest(content())
    assert loaded["config"] == content()["config"]
    assert torch.equal(loaded["state"]["vae"]["weight"], content()["state"]["vae"]["weight"])
    assert loaded["state"]["optimizer"][0]["exp_avg"].dtype == torch.bfloat16
    assert [path.name for path in (folder / "new" / "folder").iterdir()] == [LAST]


def test_the_one_before_is_kept(folder: Path) -> None:
    for epoch in (1, 2, 3):
        save_checkpoint(folder, content(epoch))
    assert epoch_of(load_checkpoint(folder / LAST)) == 3
    assert epoch_of(load_checkpoint(folder / PREVIOUS)) == 2
    assert epoch_of(load_latest(folder)) == 3


@pytest.mark.parametrize("links", [True, False])
def test_the_best_stays_as_it_was_while_later_ones_are_saved(folder: Path, monkeypatch, links: bool) -> None:
    if not links:  # as on FAT and on some network folders

        def refuse(*_: object) -> None:
            raise OSError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
    for epoch in (1, 2, 3, 4, 5):
        save_checkpoint(folder, content(epoch), best=epoch in (1, 3))
        assert epoch_of(load_checkpoint(folder / BEST)) == (1 if epoch < 3 else 3)
    assert sorted(path.name for path in folder.iterdir()) == [BEST, LAST, PREVIOUS]


def test_a_truncated_file_is_refused(folder: Path) -> None:
    save_checkpoint(folder, content())
    whole = (folder / LAST).read_bytes()
    lengths = {0, 1, 2, 3, 4, 30, 64, len(whole) - 1, len(whole) - 22, *range(0, len(whole), len(whole) // 60)}
    for length in sorted(lengths):
        (folder / LAST).write_bytes(whole[:length])
        with pytest.raises(InputError, match="is not a whole checkpoint"):
            load_checkpoint(folder / LAST)


def test_a_flipped_bit_is_noticed_wherever_it_is_in_a_tensor(folder: Path) -> None:
    save_checkpoint(folder, content())
    whole = (folder / LAST).read_bytes()
    pixels = content()["state"]["vae"]["weight"].numpy().tobytes()
    start = whole.index(pixels)
    for offset in (0, len(pixels) // 2, len(pixels) - 1):
        damaged = bytearray(whole)
        damaged[start + offset] ^= 1
        (folder / LAST).write_bytes(damaged)
        with pytest.raises(InputError, match=r"does not match its digest|is not a whole checkpoint"):
            load_checkpoint(folder / LAST)


@pytest.mark.parametrize(
    "alter",
    [
        lambda c: c["config"].update(seed=4),
        lambda c: c["config"]["filters"].reverse(),
        lambda c: c["config"].update(lr=np.nextafter(1e-3, 1).item()),
        lambda c: c["state"]["vae"]["weight"][63].neg_(),
        lambda c: c["state"]["vae"].update(step=torch.tensor(7, dtype=torch.int32)),
        lambda c: c["state"].update(sums=torch.zeros(2, 2, dtype=torch.float64)),
        lambda c: c["state"].update(epoch=True),
        lambda c: c["state"].pop("best_value"),
    ],
)
def test_altered_content_does_not_match_its_digest(folder: Path, alter) -> None:
    altered = content()
    alter(altered)
    torch.save({"format": FORMAT, "digest": digest(content()), "content": altered}, folder / LAST)
    with pytest.raises(InputError, match="does not match its digest"):
        load_checkpoint(folder / LAST)


def test_other_formats_are_named(folder: Path) -> None:
    path = folder / LAST
    torch.save({"format": FORMAT + 1, "digest": "", "content": {}}, path)
    with pytest.raises(InputError, match=f"has format {FORMAT + 1}, this version reads {FORMAT}"):
        load_checkpoint(path)
    for foreign in ({"state_dict": {}}, [1, 2], torch.zeros(3)):
        torch.save(foreign, path)
        with pytest.raises(InputError, match="is not a checkpoint of this program"):
            load_checkpoint(path)
    path.write_text("a text file")
    with pytest.raises(InputError, match="is not a whole checkpoint"):
        load_checkpoint(path)
    with pytest.raises(InputError, match="no such checkpoint"):
        load_checkpoint(folder / "nowhere.ckpt")
    with pytest.raises(InputError, match="no such checkpoint"):
        load_checkpoint(folder)


class Bomb:
    """Unpickled, it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_file_that_carries_code_does_not_run_it(folder: Path) -> None:
    mark, path = folder / "ran", folder / LAST
    bomb = Bomb(mark)
    pickle.loads(pickle.dumps(bomb, protocol=2))
    mark.rmdir()  # it works where it is let
    torch.save({"format": FORMAT, "digest": "", "content": {"vae": bomb}}, path)
    for written in (path.read_bytes(), pickle.dumps(bomb, protocol=2)):
        path.write_bytes(written)
        with pytest.raises(InputError, match="is not a whole checkpoint"):
            load_checkpoint(path)
        assert not mark.exists()


def test_the_newest_whole_one_is_found(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert load_latest(folder) is None
    assert load_latest(folder / "nowhere") is None
    for epoch in (1, 2):
        save_checkpoint(folder, content(epoch))
    last, previous = folder / LAST, folder / PREVIOUS
    last.write_bytes(last.read_bytes()[:-100])
    assert epoch_of(load_latest(folder)) == 1
    assert "last.ckpt: is not a whole checkpoint" in caplog.text
    previous.write_bytes(b"")
    assert load_latest(folder) is None


class Killed(BaseException):
    """As a SIGKILL does: nothing after it runs, no `except OSError` sees it."""


def kill_at_rename(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Dies instead of the `count`-th rename or link, by whatever name it is called."""
    renames = 0

    def dying(real):
        def call(*arguments: Any, **keywords: Any) -> Any:
            nonlocal renames
            renames += 1
            if renames == count:
                raise Killed
            return real(*arguments, **keywords)

        return call

    for name in ("replace", "rename", "link"):
        monkeypatch.setattr(os, name, dying(getattr(os, name)))


def all_crashes(root: Path, monkeypatch: pytest.MonkeyPatch, prepare) -> list[Path]:
    """One folder for every moment between renames at which saving epoch 3 can die, and at last one where it did not."""
    folders = []
    for count in range(1, 20):
        crashed = root / str(count)
        prepare(crashed)
        folders.append(crashed)
        with monkeypatch.context() as patch:
            kill_at_rename(patch, count)
            try:
                save_checkpoint(crashed, content(3), best=True)
            except Killed:
                continue
        break
    assert len(folders) > 3
    assert epoch_of(load_latest(folders[-1])) == 3
    return folders


def two_epochs(folder: Path) -> None:
    save_checkpoint(folder, content(1))
    save_checkpoint(folder, content(2), best=True)


def test_a_crash_while_saving_costs_no_more_than_that_save(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for crashed in all_crashes(folder, monkeypatch, two_epochs):
        assert epoch_of(load_latest(crashed)) in (2, 3)
        assert epoch_of(load_checkpoint(crashed / BEST)) in (2, 3)
        # And the next save mends what was left.
        save_checkpoint(crashed, content(4))
        assert epoch_of(load_latest(crashed)) == 4
        assert epoch_of(load_checkpoint(crashed / PREVIOUS)) in (2, 3)


def test_a_crash_after_falling_back_loses_nothing_either(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(crashed: Path) -> None:
        two_epochs(crashed)
        (crashed / LAST).write_bytes(b"")  # the run has gone on from previous.ckpt

    for crashed in all_crashes(folder, monkeypatch, damaged):
        assert epoch_of(load_latest(crashed)) in (1, 3), sorted(path.name for path in crashed.iterdir())


def test_a_full_disk_costs_no_whole_checkpoint(folder: Path) -> None:
    two_epochs(folder)
    # A limit on the size of files stands in for a disk without room: writes fail part of the way, for real.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    try:
        with pytest.raises(RunFailed, match=r"cannot write .*: File too large; the checkpoint before it is whole"):
            save_checkpoint(folder, content(3), best=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert epoch_of(load_latest(folder)) == 2
    assert epoch_of(load_checkpoint(folder / PREVIOUS)) == 1
    assert epoch_of(load_checkpoint(folder / BEST)) == 2
    save_checkpoint(folder, content(3))
    assert sorted(path.name for path in folder.iterdir()) == [BEST, LAST, PREVIOUS]


def test_a_file_in_the_folders_place_is_said(folder: Path) -> None:
    (folder / "checkpoints").write_text("")
    with pytest.raises(RunFailed, match=r"cannot write .*last\.ckpt"):
        save_checkpoint(folder / "checkpoints", content())


def test_a_digest_does_not_depend_on_how_a_tensor_lies_in_memory() -> None:
    x = torch.randn(2, 3, 4, 5)
    same = [
        x.contiguous(memory_format=torch.channels_last),
        x.transpose(1, 3).contiguous().transpose(1, 3),
        torch.cat([x, x])[2:],
        torch.stack([x, x], -1)[..., 0],
        x.clone().requires_grad_(),
        torch.nn.Parameter(x),
    ]
    assert {digest(each) for each in same} == {digest(x)}
    assert digest(x.view(3, 2, 4, 5)) != digest(x)
    assert digest(x.double()) != digest(x)
    assert digest(x.transpose(2, 3)) != digest(x)
    assert digest(torch.zeros(3)[0]) == digest(torch.tensor(0.0))
    assert digest(torch.zeros(1)) != digest(torch.tensor(0.0))


def test_a_digest_tells_what_looks_alike_apart() -> None:
    different = [1, 1.0, True, "1", None, "None", 0.0, -0.0, [], {}, [[]], [1, [2]], [[1], 2], {1: 2}, [1, 2]]
    assert len({digest(each) for each in different}) == len(different)
    assert digest((1, 2)) == digest([1, 2])
    assert digest(float("nan")) == digest(float("nan"))


@pytest.mark.parametrize(
    "value",
    [
        np.zeros(3),
        np.int64(1),
        np.float64(1),  # is a float to Python, but not to a reader that runs no code
        {1, 2},
        b"bytes",
        1j,
        torch.float32,
        object(),
        lambda: None,
        defaultdict(list),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_could_not_be_read_back_is_not_written(folder: Path, value: object) -> None:
    with pytest.raises(TypeError, match="a checkpoint cannot carry a"):
        save_checkpoint(folder, {"state": [value]})
    assert not (folder / LAST).exists()


def test_a_state_dict_as_torch_gives_it_can_be_written(folder: Path) -> None:
    save_checkpoint(folder, {"vae": OrderedDict(torch.nn.Linear(2, 2).state_dict())})
    assert load_checkpoint(folder / LAST)["vae"].keys() == {"weight", "bias"}
