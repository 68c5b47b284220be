"""What Slurm's own commands say."""

import logging
import os
import subprocess
import time

log = logging.getLogger(__name__)

# States that a job does not leave again.
ENDED = frozenset(
    {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED"}
    | {"TIMEOUT"}
)

_ASK_EVERY = 3.0  # seconds between two calls of squeue, which answers for all jobs at once


class Queue:
    """What squeue says of this user's jobs, asked for all of them at once and not too often."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}
        self._asked = -float("inf")  # when the last question was put that had an answer
        self._next = -float("inf")

    def state(self, job_id: str, since: float) -> str | None:
        """A job's state; "" when Slurm lists it no more, None while nothing is known.

        Args:
            job_id: of a job of this user.
            since: when it was submitted, on the monotonic clock.
        """
        now = time.monotonic()
        if now >= self._next:
            answer = ask("squeue", "--noheader", "--states=all", f"--user={os.getuid()}", "--format=%i|%T")
            self._next = time.monotonic() + max(_ASK_EVERY, 10 * (time.monotonic() - now))  # a slow one: seldom
            if answer is not None:
                self._states = dict(line.strip().split("|") for line in answer.splitlines() if "|" in line)
                self._asked = now
        return self._states.get(job_id, "" if self._asked > since else None)


def ask(*command: str) -> str | None:
    """What one of Slurm's commands answers; None when it fails, as it does while slurmctld is away."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=30, check=False, start_new_session=True,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        log.debug("%s: %s", " ".join(command), error)
        return None
    if done.returncode:
        log.debug("%s: %s", " ".join(command), done.stderr.strip())
        return None
    return done.stdout


def fields_of(line: str) -> dict[str, str]:
    """scontrol's "Key=value Key=value"."""
    return dict(word.split("=", 1) for word in line.split() if "=" in word)
