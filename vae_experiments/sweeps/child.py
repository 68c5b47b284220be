"""A function's result from a process of its own: its memory is its alone, and its death is no one else's."""

import os
import signal
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from vae_experiments.errors import InputError, RunFailed
from vae_experiments.sweeps.executors.local import start_process

T = TypeVar("T")


class Died(RunFailed):
    """The process ended without an answer: killed, for want of memory or by a signal."""


def in_child(function: Callable[[Any], T], argument: Any, *, cwd: Path, timeout: float | None) -> T:
    """`function(argument)`, computed in the folder `cwd` by a process that does nothing else.

    Args:
        function: importable; it and what it takes and gives travel as pickles.
        argument: its only one.
        cwd: the process's working directory.
        timeout: seconds; None waits.

    Raises:
        InputError: as the function did.
        Died: its process did.
        RunFailed: the function failed in any other way.
        TimeoutError: there was no answer in time.
    """
    if timeout is not None and timeout <= 0:
        raise TimeoutError
    ours, theirs = Pipe(duplex=False)
    process = start_process(_answer, theirs, function, argument, cwd)
    theirs.close()
    try:
        if not ours.poll(timeout):
            raise TimeoutError
        answer = ours.recv()
    except EOFError:
        process.join()
        raise Died(_how_it_died(process.exitcode)) from None
    finally:
        process.kill()
        process.join()
        ours.close()
    if isinstance(answer, Exception):
        raise answer
    result: T = answer
    return result


def _answer(connection: Connection, function: Callable[[Any], object], argument: Any, cwd: Path) -> None:
    """The child's side."""
    try:
        os.chdir(cwd)
        connection.send(function(argument))
    except (InputError, RunFailed) as error:
        connection.send(error)
    except Exception as error:
        connection.send(RunFailed(one_line(error)))


def one_line(error: Exception) -> str:
    """An unexpected error in a few words."""
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return "out of memory"
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def _how_it_died(exitcode: int | None) -> str:
    if exitcode == -signal.SIGKILL:
        return "its process was killed, as a system that is out of memory does"
    return f"its process ended with status {exitcode}"
