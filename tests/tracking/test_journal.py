from pathlib import Path

import pytest

from vae_experiments.errors import InputError
from vae_experiments.tracking.journal import CURSOR, JOURNAL, Journal, is_tracked, last_status, read_entries, read_start


def written(folder: Path) -> Journal:
    journal = Journal(folder)
    journal.append("start", 1, run_id="r")
    for step in range(3):
        journal.append("metrics", 2, metrics={"a": float(step), "b": float("nan")}, step=step)
    return journal


def test_what_was_sent_is_not_pending_when_opened_again(tmp_path: Path) -> None:
    journal = written(tmp_path)
    journal.sent(journal.pending[1])
    assert [entry.data.get("step") for entry in journal.pending] == [1, 2]
    assert [entry.data.get("step") for entry in Journal(tmp_path).pending] == [1, 2]


def test_what_was_passed_over_is_neither_pending_nor_lost(tmp_path: Path) -> None:
    journal = written(tmp_path)
    _, first, second, _ = journal.pending
    journal.pass_over(first)
    journal.sent(second)
    again = Journal(tmp_path)
    assert [entry.data["step"] for entry in again.pending] == [2]
    assert [entry.data["step"] for entry in again.left] == [0]
    again.sent(again.left[0])
    assert Journal(tmp_path).left == []


def test_a_line_cut_short_at_any_byte_is_dropped_and_the_next_one_whole(tmp_path: Path) -> None:
    written(tmp_path)
    whole = (tmp_path / JOURNAL).read_bytes()
    for cut in range(len(whole) - 60, len(whole)):
        (tmp_path / JOURNAL).write_bytes(whole[:cut])
        journal = Journal(tmp_path)
        assert len(journal.pending) == 3
        journal.append("status", 3, status="KILLED")
        assert [entry.kind for entry in read_entries(tmp_path)] == [
            "start",
            "metrics",
            "metrics",
            "status",
        ]


def test_a_damaged_line_costs_only_itself(tmp_path: Path) -> None:
    written(tmp_path)
    lines = (tmp_path / JOURNAL).read_bytes().splitlines(keepends=True)
    (tmp_path / JOURNAL).write_bytes(lines[0] + b"\0" * 20 + b"\n" + b"[1]\n" + b'{"kind": "?"}\n' + lines[3])
    assert [entry.data.get("step") for entry in Journal(tmp_path).pending] == [None, 2]


@pytest.mark.parametrize("content", ["", "{", '{"sent": null, "left": []}', "7"])
def test_a_cursor_that_cannot_be_read_makes_everything_pending(tmp_path: Path, content: str) -> None:
    journal = written(tmp_path)
    journal.sent(journal.pending[-1])
    (tmp_path / CURSOR).write_text(content)
    assert len(Journal(tmp_path).pending) == 4


def test_a_folder_says_whose_it_is_and_how_it_ended(tmp_path: Path) -> None:
    assert not is_tracked(tmp_path)
    assert last_status(tmp_path) is None
    with pytest.raises(InputError, match="not the folder of a tracked run"):
        read_start(tmp_path)
    journal = written(tmp_path)
    journal.append("status", 3, status="FAILED")
    assert is_tracked(tmp_path)
    assert read_start(tmp_path).data["run_id"] == "r"
    assert last_status(tmp_path) == "FAILED"
