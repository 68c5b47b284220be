"""One process at a time writes a run's folder, and whether it lives can be seen from outside."""

from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from vae_experiments.errors import InputError

NAME = "run.lock"


class RunLock:
    """Held for the life of the process that writes `folder`; the system frees it however that process ends.

    Raises:
        InputError: on entering, when another process holds it, or the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = FileLock(folder / NAME)

    def __enter__(self) -> Self:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=2)  # longer than another process's look at it takes
        except Timeout:
            raise InputError(
                f"{self.folder}: another process is writing this run: wait for it, or stop it first"
            ) from None
        except OSError as error:
            raise InputError(f"{self.folder}: cannot be written: {error.strerror or error}: mend that first") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()


def is_held(folder: Path) -> bool:
    """Whether a living process writes `folder`."""
    if not (folder / NAME).is_file():
        return False
    lock = FileLock(folder / NAME)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # on a disk that is read-only nobody writes
        return False
    lock.release()
    return False
