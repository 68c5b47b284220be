"""vae ui: MLflow's pages over the runs, opened on the right view."""

import logging
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from types import FrameType
from typing import IO, Annotated

import requests
from annotated_types import Ge, Le

from vae_experiments.config.verb import run_verb
from vae_experiments.errors import InputError, RunFailed
from vae_experiments.tracking.config import TrackingConfig

log = logging.getLogger(__name__)

_READY_SECONDS = 120  # a server takes 3 s to start, on a busy machine many times that
_STOP_SECONDS = 10


@dataclass(frozen=True, kw_only=True)
class UiConfig:
    """The keys of conf/ui.yaml.

    Args:
        host: the address to serve on; 127.0.0.1 is for this machine alone.
        port: the first one to try; the next free one is taken when it is not.
        browser: whether to open a browser; None does where a person sits at a terminal.
        tracking: the store to show.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Ge(1), Le(65535)] = 5000
    browser: bool | None = None
    tracking: TrackingConfig = field(default_factory=TrackingConfig)


def main(arguments: Sequence[str]) -> None:
    """Runs the verb; see `vae ui --help`."""
    run_verb("ui", arguments, UiConfig, ui)


def ui(config: UiConfig) -> None:
    """Serves MLflow's pages until Ctrl-C; of a store that is a server already, only says where they are.

    Raises:
        InputError: the store, the address or the ports cannot be used.
        RunFailed: the server ended by itself.
    """
    from vae_experiments.tracking.store import Store

    store = Store.open(config.tracking)
    page = f"/#/experiments/{store.experiment_id()}?workflowType=machine_learning"
    if store.uri.startswith(("http://", "https://")):
        _show(re.sub("//[^/]*@", "//", store.uri) + page, config.browser)  # the browser asks for the password
        return
    if not _is_loopback(config.host):
        log.warning("host=%s: whoever reaches this machine can see, change and delete the runs", config.host)
    port = _free_port(config.host, config.port)
    if port != config.port:
        log.info("port %d is taken: using %d", config.port, port)
    with tempfile.TemporaryFile() as said, _server(store.uri, config.host, port, said) as server:
        base = f"http://{_in_address(config.host)}:{port}"
        if _wait_until_ready(base, server):
            _show(base + page, config.browser)
            log.info("Ctrl-C stops it")
            server.wait()
        if not server.stopped:
            said.seek(0)
            lines = said.read().decode("utf-8", "replace").strip().splitlines()
            raise RunFailed(f"the MLflow server ended by itself: {lines[-1] if lines else 'it said nothing'}")


class _Server:
    """The server's process; `stopped` once a signal has asked it to go."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.stopped = False

    @property
    def runs(self) -> bool:
        return self.process.poll() is None and not self.stopped

    def wait(self) -> None:
        while self.runs:
            time.sleep(0.2)

    def stop(self) -> None:
        # It has workers: all of them are in its process group.
        for signum in (signal.SIGINT, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, signum)
                self.process.wait(_STOP_SECONDS)
            except ProcessLookupError:
                return
            except subprocess.TimeoutExpired:
                continue


@contextmanager
def _server(uri: str, host: str, port: int, said: IO[bytes]) -> Iterator[_Server]:
    """`mlflow server` over a database, stopped by SIGINT and SIGTERM and at the end of the block."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"]
    environment = {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": uri,  # not on the command line, which every user of the machine can read
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # a second process, for LLMs
    }
    server: _Server | None = None
    asked = False

    def leave(signum: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        if server is not None:
            server.stopped = True

    # Before the process is there, so that no signal can leave it behind.
    before = {signum: signal.signal(signum, leave) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        server = _Server(process)
        server.stopped = asked
        try:
            yield server
        finally:
            server.stop()
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _wait_until_ready(base: str, server: _Server) -> bool:
    deadline = time.monotonic() + _READY_SECONDS
    with requests.Session() as session:
        session.trust_env = False  # no proxy stands between this machine and itself
        while server.runs and time.monotonic() < deadline:
            try:
                if session.get(f"{base}/health", timeout=2).ok:
                    return server.runs
            except requests.RequestException:
                pass
            time.sleep(0.1)
    return False


def _show(link: str, browser: bool | None) -> None:
    print(link, flush=True)
    if browser or (browser is None and sys.stdout.isatty()):
        webbrowser.open(link)


def _free_port(host: str, first: int) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in range(first, min(first + 100, 65536)):
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
            try:
                probe.bind((host, port))
            except PermissionError:
                raise InputError(f"port={port}: ports below 1024 are an administrator's: give another") from None
            except socket.gaierror:
                raise InputError(f"host={host}: no such address: 127.0.0.1 is this machine") from None
            except OSError as error:
                if error.errno is not None and "assign" in str(error):
                    raise InputError(f"host={host}: not an address of this machine") from None
                continue
            return port
    raise InputError(f"port={first}: taken, and so are the next 100: give another")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _in_address(host: str) -> str:
    """The host as a browser on this machine can reach it."""
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - compared, not bound
        return "127.0.0.1" if host != "::" else "[::1]"
    return f"[{host}]" if ":" in host else host
