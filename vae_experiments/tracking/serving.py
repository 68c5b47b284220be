"""MLflow's own server over a database: its process, from a free port to its end."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from types import FrameType
from typing import IO

import requests

from vae_experiments.errors import InputError

_READY_SECONDS = 120  # a server takes 3 s to start, on a busy machine many times that
_STOP_SECONDS = 10


class Server:
    """The server's process; `stopped` once a signal has asked it to go."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.stopped = False

    @property
    def runs(self) -> bool:
        return self.process.poll() is None and not self.stopped

    def wait(self) -> None:
        """Returns once it has ended, or is to end."""
        while self.runs:
            time.sleep(0.2)

    def wait_until_ready(self, base: str) -> bool:
        """Whether it answers at the address `base`, and was not asked to go meanwhile."""
        deadline = time.monotonic() + _READY_SECONDS
        with requests.Session() as session:
            session.trust_env = False  # no proxy stands between this machine and itself
            while self.runs and time.monotonic() < deadline:
                try:
                    if session.get(f"{base}/health", timeout=2).ok:
                        return self.runs
                except requests.RequestException:
                    pass
                time.sleep(0.1)
        return False

    def stop(self) -> None:
        """Ends it, with its workers: all of them are in its process group."""
        for signum in (signal.SIGINT, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, signum)
                self.process.wait(_STOP_SECONDS)
            except ProcessLookupError:
                return
            except subprocess.TimeoutExpired:
                continue


@contextmanager
def serve(uri: str, host: str, port: int, said: IO[bytes]) -> Iterator[Server]:
    """`mlflow server` over a database, stopped by SIGINT and SIGTERM and at the end of the block.

    Args:
        uri: the database.
        host: address to serve on.
        port: a free one.
        said: gets what the server prints.
    """
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"]
    environment = {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": uri,  # not on the command line, which every user of the machine can read
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # a second process, for LLMs
    }
    server: Server | None = None
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
        server = Server(process)
        server.stopped = asked
        try:
            yield server
        finally:
            server.stop()
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def free_port(host: str, first: int) -> int:
    """The first port from `first` on that is free.

    Raises:
        InputError: the address or the ports cannot be used.
    """
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


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def in_address(host: str) -> str:
    """The host as a browser on this machine can reach it."""
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - compared, not bound
        return "127.0.0.1" if host != "::" else "[::1]"
    return f"[{host}]" if ":" in host else host
