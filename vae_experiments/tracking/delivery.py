"""Gets a journal to its store in the end, whatever the store does meanwhile."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from mlflow.exceptions import MlflowException

from vae_experiments.tracking.address import first_line
from vae_experiments.tracking.journal import Entry, Journal
from vae_experiments.tracking.names import TRACKING_TAG
from vae_experiments.tracking.sender import Sender
from vae_experiments.tracking.store import Store

_log = logging.getLogger(__name__)

_RETRY_AFTER = (0.2, 1.0)  # seconds, within one call
_PATIENCE = 3.0  # a try that took longer is not repeated at once
_BACK_OFF = (5.0, 300.0)  # seconds between calls that try while the store is away: first, at most
_FINISH_SECONDS = 10.0  # how long the end of a run waits for a store that does not answer


class Delivery:
    """Sends what a journal holds, in its order.

    Args:
        journal: what to send; its first entry is the run's start.
        folder: the run's folder.
        reopen: opens the run's store.
        store: the store, if it is open already.
    """

    def __init__(self, journal: Journal, folder: Path, reopen: Callable[[], Store], *, store: Store | None) -> None:
        self._journal = journal
        self._folder = folder
        self._reopen = reopen
        self._sender = self._sender_of(store) if store else None
        self._doubt = journal.size  # entries up to here may have arrived, whatever the cursor says
        self._away = False
        self._next_try = 0.0
        self._wait = _BACK_OFF[0]
        self._trouble = ""

    def send(self) -> None:
        """Sends what is pending, as far as the store takes it. Never raises because of the store."""
        if time.monotonic() < self._next_try:
            return
        pending = self._journal.pending
        newest = {_target(entry): entry.end for entry in pending}
        for entry in pending:
            if newest[_target(entry)] == entry.end:
                if not self._try(entry):
                    return
            else:
                self._journal.sent(entry)  # the same file is sent further on
        if self._away:
            self._away, self._wait = False, _BACK_OFF[0]
            _log.info("MLflow answers again, and has everything")

    def finish(self) -> str:
        """Sends everything that is left, waiting a little for an absent store; what went wrong, or ""."""
        deadline = time.monotonic() + _FINISH_SECONDS
        while True:
            self._next_try = 0.0
            self.send()
            if not self._journal.pending or time.monotonic() > deadline:
                break
            time.sleep(1)
        if not self._journal.pending:
            for entry in self._journal.left:
                self._doubt = max(self._doubt, entry.end)
                self._try(entry)
        if self._journal.pending:
            return "it does not answer"
        return self._trouble if self._journal.left else ""

    def _try(self, entry: Entry) -> bool:
        """Sends one entry; False when the store is away."""
        for wait in (*_RETRY_AFTER, None):
            began = time.monotonic()
            try:
                self._sender = self._sender or self._sender_of(self._reopen())
                self._sender.send(entry, doubtful=entry.end <= self._doubt)
            except Exception as error:
                failure = error
            else:
                self._journal.sent(entry)
                return True
            self._doubt = max(self._doubt, entry.end)
            if self._sender is not None:
                self._sender.forget()
            if wait is None or time.monotonic() - began > _PATIENCE:
                break
            time.sleep(wait)
        self._trouble = f"{entry.kind}: {first_line(failure)[:200]}"
        if self._refused(failure):
            _log.warning("MLflow does not take an entry, which is left for later: %s", self._trouble)
            self._journal.pass_over(entry)
            return True
        self._fall_behind()
        return False

    def _refused(self, error: Exception) -> bool:
        """Whether the store works but does not want this entry, which must then not hold up the others."""
        if isinstance(error, MlflowException) and error.error_code == "TEMPORARILY_UNAVAILABLE":
            return False  # a locked database can still be read
        try:
            return self._sender is not None and self._sender.alive()
        except Exception:
            return False

    def _fall_behind(self) -> None:
        if not self._away:
            self._away = True
            _log.warning("MLflow does not answer: the run goes on, and is recorded when it does")
            _log.debug("it failed with: %s", self._trouble)
            self._journal.append("tags", time.time_ns() // 1_000_000, tags={TRACKING_TAG: "delayed"})
        self._next_try = time.monotonic() + self._wait
        self._wait = min(2 * self._wait, _BACK_OFF[1])

    def _sender_of(self, store: Store) -> Sender:
        start = self._journal.start.data
        return Sender(store.client, start["run_id"], start["experiment_id"], self._folder)


def _target(entry: Entry) -> object:
    """What an entry would write over if it were sent again later."""
    if entry.kind == "artifact":
        return entry.data["path"], entry.data["folder"]
    return tuple(entry.data["paths"]) if entry.kind == "image" else entry.end
