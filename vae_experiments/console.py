"""What people see on the terminal: one console, shared by the log and the progress display."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path

from rich.console import Console

console = Console(stderr=True, highlight=False)

QUIET = {"quiet": True}  # `extra` of a record that is for the log file alone


class ConsoleHandler(logging.Handler):
    """Log records as plain lines, above a progress display if there is one. Tracebacks are for the log file."""

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "quiet", False):
            return
        try:
            record = copy(record)
            record.exc_info = record.exc_text = None
            style = {logging.WARNING: "yellow", logging.ERROR: "red"}.get(record.levelno)
            # soft_wrap: a path that is broken over two lines cannot be copied.
            console.print(self.format(record), style=style, markup=False, soft_wrap=True)
        except Exception:  # as logging's own handlers do: a lost line must not end a run
            self.handleError(record)


@contextmanager
def log_to_file(path: Path) -> Iterator[None]:
    """Also writes every record, with its time, to `path`."""
    handler = logging.FileHandler(path, delay=True, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
