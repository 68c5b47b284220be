"""Jobs as processes of this machine.

Each is forked from a server process that has imported everything: it starts within milliseconds, shares the
libraries' memory, and dies alone. (Pools, joblib's included, break whole when one worker is killed.)
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from vae_experiments.sweeps.executors.base import Executor, Handle, Order


class LocalExecutor(Executor):
    """Runs jobs on this machine.

    Args:
        folder: the sweep's; jobs have theirs in it.
        jobs: at once.
        gpus: CUDA devices that jobs are given, one each, in turn; none leaves them what they see.
    """

    def __init__(self, folder: Path, jobs: int, gpus: int = 0) -> None:
        self.capacity = jobs
        self._gpus = gpus
        self._handles: list[LocalHandle] = []

    def submit(self, order: Order) -> "LocalHandle":
        self._handles = [handle for handle in self._handles if handle.runs]
        taken = {handle.slot for handle in self._handles}
        slot = next(slot for slot in range(len(taken) + 1) if slot not in taken)
        if self._gpus:
            devices = visible_devices(order.environment, self._gpus)
            device = {"CUDA_VISIBLE_DEVICES": devices[slot % len(devices)]}
            order = replace(order, environment=order.environment | device)
        handle = LocalHandle(start_process(_work, order), slot)
        self._handles.append(handle)
        return handle

    def wait(self, seconds: float) -> None:
        sentinels = [handle.sentinel for handle in self._handles if not handle.told]
        if sentinels:
            wait(sentinels, seconds)
        else:
            super().wait(seconds)

    def close(self) -> None:
        for handle in self._handles:
            if handle.ended() is None:
                handle.stop()
        for handle in self._handles:
            handle.join()


class LocalHandle(Handle):
    """A job's process, and the place it takes among those that run at once.

    Attributes:
        told: it has been said that it ended.
    """

    def __init__(self, process: ForkServerProcess, slot: int) -> None:
        self._process = process
        self.slot = slot
        self.told = False

    def ended(self) -> str | None:
        code = self._process.exitcode
        if code is None:
            return None
        self.told = True
        if code >= 0:
            return ""
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        memory = ", as a system that is out of memory does" if name == "SIGKILL" else ""
        return f"its process was killed by {name}{memory}"

    @property
    def runs(self) -> bool:
        """Whether it goes on."""
        return self._process.exitcode is None

    @property
    def sentinel(self) -> int:
        """What becomes readable when it ends."""
        return self._process.sentinel

    def stop(self) -> None:
        self._process.terminate()

    def join(self) -> None:
        self._process.join()


def visible_devices(environment: Mapping[str, str], gpus: int) -> list[str]:
    """Names of the `gpus` CUDA devices that may be used: those that CUDA_VISIBLE_DEVICES lists, if it does."""
    listed = [name.strip() for name in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return listed[:gpus] or [str(index) for index in range(gpus)]


def start_process(function: Callable[..., Any], *arguments: Any) -> ForkServerProcess:
    """Calls `function`, which must be importable, in a new process; it is asked to leave when this one exits."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vae_experiments.sweeps.executors.preload"])
    process = context.Process(target=_begin, args=(function, *arguments), daemon=True)
    process.start()
    return process


def _begin(function: Callable[..., Any], *arguments: Any) -> None:
    """In the new process. Ctrl-C reaches every process of the terminal: the one that started this passes it on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _leave_with_parent()
    function(*arguments)


def _leave_with_parent() -> None:
    """Sends this process SIGTERM as soon as the one that started it is gone, however that went."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="parent-watch").start()


def warm_up() -> None:
    """Starts the server now, so that it imports while this process does something else."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(["vae_experiments.sweeps.executors.preload"])
    from multiprocessing.forkserver import ensure_running

    ensure_running()


def _work(order: Order) -> None:
    from vae_experiments.sweeps.job import run

    sys.exit(run(order))
