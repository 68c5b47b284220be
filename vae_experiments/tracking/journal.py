"""What a run has to tell MLflow, on disk before it is sent, and how far it was sent."""

import errno
import json
import os
import shlex
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from vae_experiments.errors import InputError, RunFailed

JOURNAL = "journal.jsonl"
CURSOR = "journal.cursor"

Kind = Literal["start", "params", "metrics", "tags", "artifact", "image", "dataset", "model", "status"]
Ending = Literal["FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True)
class Entry:
    """One line of the journal.

    Args:
        kind: what it is about.
        time: when it was written, in milliseconds since 1970.
        data: its content, as JSON has it.
        end: the offset in bytes of the line's end in the file; names the entry.
    """

    kind: Kind
    time: int
    data: dict[str, Any]
    end: int


class Journal:
    """An append-only file of entries in a run's folder, and a cursor beside it.

    Only what has not arrived is in memory.

    Attributes:
        size: of the file, in bytes.
    """

    def __init__(self, folder: Path) -> None:
        """Opens the journal in `folder`, or begins one; a last line that a kill cut short is dropped."""
        self.path = folder / JOURNAL
        self._cursor = folder / CURSOR
        with writing(self.path):
            self.path.touch()
        self.size = 0
        self._sent, left = self._read_cursor()
        self._start: Entry | None = None
        self._pending: deque[Entry] = deque()
        self._left: dict[int, Entry] = {}  # by their ends
        for entry, end in _read(self.path):
            self.size = end
            if entry is not None:
                self._start = self._start or entry
                if end > self._sent:
                    self._pending.append(entry)
                elif end in left:
                    self._left[end] = entry
        self._cut()

    def append(self, kind: Kind, time: int, **data: object) -> Entry:
        """Writes an entry through to the disk.

        Raises:
            RunFailed: there is no room for it, or the disk fails; the journal is as it was.
        """
        line = json.dumps({"kind": kind, "time": time, **data}).encode() + b"\n"
        with writing(self.path):
            try:
                with self.path.open("ab") as file:
                    file.write(line)
                    file.flush()
                    os.fsync(file.fileno())
            except OSError:
                with suppress(OSError):
                    self._cut()  # or the next entry would continue half a line
                raise
        self.size += len(line)
        entry = Entry(kind, time, json.loads(line), self.size)
        self._start = self._start or entry
        self._pending.append(entry)
        return entry

    @property
    def start(self) -> Entry:
        """The first entry, which says whose journal it is; there has to be one."""
        assert self._start is not None
        return self._start

    @property
    def pending(self) -> list[Entry]:
        """What is not known to have arrived, oldest first, without what was passed over."""
        return list(self._pending)

    @property
    def left(self) -> list[Entry]:
        """What the store would not take while it took other things, oldest first."""
        return [self._left[end] for end in sorted(self._left)]

    def sent(self, entry: Entry) -> None:
        """Notes that `entry`, and everything before it that was not passed over, has arrived."""
        self._left.pop(entry.end, None)
        self._advance(entry.end)

    def pass_over(self, entry: Entry) -> None:
        """Leaves `entry` for later, so that it does not hold up what comes after it."""
        self._left[entry.end] = entry
        self._advance(entry.end)

    def _advance(self, end: int) -> None:
        """Moves the cursor to there, if it is not farther."""
        self._sent = max(self._sent, end)
        while self._pending and self._pending[0].end <= self._sent:
            self._pending.popleft()
        # Not synced, and not missed on a full disk: an old cursor only makes the sender compare more.
        draft = self._cursor.with_suffix(".tmp")
        with suppress(OSError):
            draft.write_text(json.dumps({"sent": self._sent, "left": sorted(self._left)}))
            draft.replace(self._cursor)

    def _cut(self) -> None:
        """Drops what follows the last whole line."""
        if self.size < self.path.stat().st_size:
            os.truncate(self.path, self.size)

    def _read_cursor(self) -> tuple[int, set[int]]:
        try:
            cursor = json.loads(self._cursor.read_text())
            return int(cursor["sent"]), {int(end) for end in cursor["left"]}
        except (OSError, ValueError, KeyError, TypeError):
            return 0, set()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns a disk's refusal to take `path` into RunFailed, in one line that says how to go on."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        what = "free some space" if full else "mend that"
        again = f"vae resume {shlex.quote(str(path.parent))}"
        raise RunFailed(f"cannot write {path}: {error.strerror or error}: {what}, then {again}") from error


def _read(path: Path) -> Iterator[tuple[Entry | None, int]]:
    """Each whole line's entry (None for a damaged one) with the offset of its end."""
    end = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            end += len(line)
            try:
                data = json.loads(line)
                entry = Entry(data["kind"], data["time"], data, end)
                yield (entry if entry.kind in get_args(Kind) else None), end
            except (ValueError, KeyError, TypeError):
                yield None, end


def read_entries(folder: Path) -> Iterator[Entry]:
    """The journal of `folder`, read without touching it; nothing where there is none."""
    path = folder / JOURNAL
    if path.is_file():
        yield from (entry for entry, _ in _read(path) if entry is not None)


def is_tracked(folder: Path) -> bool:
    """Whether `folder` belongs to an MLflow run, which `Tracker.resume` then continues."""
    return _start_of(folder) is not None


def read_start(folder: Path) -> Entry:
    """The entry that says which MLflow run `folder` belongs to.

    Raises:
        InputError: `folder` is not the folder of a tracked run.
    """
    start = _start_of(folder)
    if start is None:
        raise InputError(f"{folder}: not the folder of a tracked run (no {JOURNAL} that begins one)")
    return start


def _start_of(folder: Path) -> Entry | None:
    first = next(read_entries(folder), None)
    return first if first is not None and first.kind == "start" else None


def last_status(folder: Path) -> str | None:
    """The last status that the run in `folder` wrote down; None where it wrote none."""
    statuses = [entry.data["status"] for entry in read_entries(folder) if entry.kind == "status"]
    return str(statuses[-1]) if statuses else None
