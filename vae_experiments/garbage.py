"""How often Python looks for garbage: seldom until a command trains or draws, and not once more while it ends.

Importing PyTorch and MLflow makes a million objects, all of them in use: looking for garbage among them would take
a fifth of the start, and a second of the end.
"""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

SELDOM = 50_000  # new objects between two searches among them,
HARDLY = 1_000  # and such searches between two among those that outlived one

_usual = gc.get_threshold()


@cache
def seldom() -> None:
    """From now on until `as_usual`; the first time it is called in a process."""
    gc.set_threshold(SELDOM, HARDLY, HARDLY)
    atexit.register(gc.freeze)  # else the interpreter visits every object as it leaves


def as_usual() -> None:
    """As Python does by itself, but for what is here already: that stays. Ends `seldom`, if it began."""
    if gc.get_threshold()[0] == SELDOM:
        gc.freeze()
        gc.set_threshold(*_usual)


@contextmanager
def never() -> Iterator[None]:
    """While all that is made is kept: modules, or runs of MLflow's, which are a hundred objects each."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
