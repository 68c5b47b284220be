"""A sweep killed with SIGKILL again and again, resumed until it is done, beside one that nothing disturbed.

    python tests/faults/campaign.py [--kills 20] [--jobs 8] [--seed 0] [--only KILLS|FAULT] [--report FILE]

Everything of the sweep dies at once, at moments of its whole life: while it starts, while it trains, while a
checkpoint is being written, while a job ends, while the comparison is drawn. Which, and how far the
sweep must have got, is drawn from the seed. Then the other faults, one after the other. Exit status 0: the results
were the same every time, bit for bit, and MLflow's record was whole.
"""

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Literal

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest has it

from faults.lab import (
    EPOCHS,
    LIMIT,
    Trial,
    assert_recorded,
    assert_same,
    kill_everything,
    kill_what_is_left,
    members,
    wait_for,
)
from faults.other import FAULTS

Phase = Literal["start-up", "training", "checkpoint", "a job's end", "comparison"]
MOST = 0.85  # of all epochs, by when the last kill but one has come: the sweep must not end before it
POLL = 0.001  # a checkpoint is being written for a few milliseconds


@dataclass(frozen=True)
class Moment:
    """When to kill.

    Args:
        phase: what must be going on.
        epochs: of all jobs together, that must be finished.
        wait: seconds after that; at start-up, of the time that it takes undisturbed, a share.
    """

    phase: Phase
    epochs: int
    wait: float


def choose(kills: int, jobs: int, seed: int) -> list[Moment]:
    """As many moments, those that need finished epochs spread evenly over the sweep's work."""
    draw = random.Random(seed)
    # Nothing is planned yet; then the plan is written, and little more.
    first = [Moment("start-up", 0, draw.uniform(0, 0.3)), Moment("start-up", 0, draw.uniform(0.4, 1))]
    first = first[: max(1, kills // 5)]
    phases: list[Phase] = ["checkpoint", "training", "start-up", "a job's end"]
    deck = list(islice(cycle(phases), kills - len(first) - 1))
    draw.shuffle(deck)
    total = MOST * jobs * EPOCHS
    moments = first
    for i, phase in enumerate(deck):
        epochs = int(total * (i + draw.random()) / len(deck))
        wait = draw.random() if phase == "start-up" else draw.uniform(0, 0.4) if phase == "training" else 0.0
        moments.append(Moment(phase, epochs, wait))
    return [*moments, Moment("comparison", jobs * EPOCHS, draw.uniform(0, 1.5))]


def kill_again_and_again(
    trial: Trial, moments: Sequence[Moment], startup: float, say: Callable[[str], None]
) -> Counter[str]:
    """Takes the sweep to its end through every kill; how many there were of each phase.

    Args:
        startup: seconds from the command to the first job's first step.
    """
    counts: Counter[str] = Counter()
    for number, moment in enumerate(moments, start=1):
        typed = "vae resume" if trial.folder else "vae train -m"
        began, since = time.monotonic(), time.time()
        process = trial.begin()
        phase = moment.phase
        _await(trial, moment, since, startup, process)
        kill_everything(process)
        if phase == "start-up" and trial.folder is None:
            counts["before the plan"] += 1
        counts[phase] += 1
        epochs, statuses, drafts = trial.epochs(), trial.statuses(), trial.drafts(since)
        counts["with a half-written file"] += bool(drafts)
        state = f"{sum(epochs)} of {trial.jobs * EPOCHS} epochs, {statuses.count('FINISHED')} of {trial.jobs} jobs done"
        left = f"; left {', '.join(drafts)}" if drafts else ""
        where = state if trial.folder else "nothing planned"
        say(f"kill {number:2}  {time.monotonic() - began:5.1f} s into {typed:12}  {phase:11}  {where}{left}")
    began = time.monotonic()
    trial.run()
    say(f"then vae resume to the end: {time.monotonic() - began:.1f} s")
    return counts


def _await(trial: Trial, moment: Moment, since: float, startup: float, process: subprocess.Popen[bytes]) -> None:
    """Returns at the moment; fails when the command ends before it, or when it does not come."""
    if moment.phase == "start-up":
        end = time.monotonic() + moment.wait * startup
        while time.monotonic() < end and not trial.trains(since):  # quicker than when nothing disturbed it
            time.sleep(0.01)
        return
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        if trial.folder is not None and _is_now(trial, moment, since):
            time.sleep(moment.wait)
            return
        assert process.poll() is None, f"ended with {process.returncode} before {moment}:\n{trial.log.read_text()}"
        time.sleep(POLL)
    raise AssertionError(f"{moment} did not come:\n{trial.log.read_text()}")


def _is_now(trial: Trial, moment: Moment, since: float) -> bool:
    if moment.phase == "comparison":
        return trial.statuses() == ["FINISHED"] * trial.jobs
    if moment.phase == "checkpoint":  # first what is gone in a millisecond
        now = any(_is_newer(path, since) for path in trial.sweep.glob("*/checkpoints/*new.ckpt*"))
        return now and sum(trial.epochs()) >= moment.epochs
    if sum(trial.epochs()) < moment.epochs or not trial.trains(since):
        return False
    if moment.phase == "training":
        return True
    ends = zip(trial.epochs(since), trial.statuses(), strict=True)
    return any(epochs == EPOCHS and status == "RUNNING" for epochs, status in ends)


def _is_newer(path: Path, since: float) -> bool:
    try:
        return path.stat().st_mtime >= since  # what is older was left by a kill before
    except OSError:
        return False


def undisturbed(work: Path, jobs: int) -> tuple[Trial, float, float]:
    """A sweep that is left alone; seconds until its first job trained, and in all."""
    trial = Trial(work, jobs)
    began, since = time.monotonic(), time.time()
    process = trial.begin()
    while not trial.trains(since):
        assert process.poll() is None, trial.log.read_text()
        time.sleep(0.02)
    startup = time.monotonic() - began
    assert process.wait(LIMIT) == 0, trial.log.read_text()
    wait_for(lambda: not members(process), seconds=30)  # the server that jobs come from leaves a moment later
    assert_same(trial, trial)
    assert_recorded(trial)
    return trial, startup, time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=["kills", *FAULTS], action="append", help="this part; can be repeated")
    parser.add_argument("--report", type=Path, help="a file for what is printed")
    parser.add_argument("--work", type=Path, help="an empty folder for the sweeps, which is kept")
    options = parser.parse_args()
    if options.kills < 2:
        parser.error("--kills: at least 2, one at the beginning and one at the end")

    def say(line: str) -> None:
        print(line, flush=True)
        if options.report:
            with options.report.open("a") as file:
                file.write(f"{line}\n")

    with tempfile.TemporaryDirectory(prefix="vae-faults-") as made:
        signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(128 + signum))
        try:
            sys.exit(run_all(options, options.work or Path(made), say))
        finally:
            kill_what_is_left()


def kills(options: argparse.Namespace, work: Path, say: Callable[[str], None]) -> str:
    """The sweep killed again and again beside its undisturbed twin; what that came to."""
    jobs = options.jobs
    reference, startup, seconds = undisturbed(work / "undisturbed", jobs)
    say(f"undisturbed: {jobs} jobs of {EPOCHS} epochs, {seconds:.0f} s; first step after {startup:.1f} s")
    trial = Trial(work / "killed", jobs)
    counts = kill_again_and_again(trial, choose(options.kills, jobs, options.seed), startup, say)
    assert_same(trial, reference)
    assert_recorded(trial)
    return (
        f"{options.kills} kills ({', '.join(f'{n} {what}' for what, n in counts.items())}): all metrics and "
        f"checkpoint digests of {jobs} jobs are the undisturbed sweep's; MLflow has {jobs} "
        "finished children of one parent, each epoch's metrics once"
    )


def run_all(options: argparse.Namespace, work: Path, say: Callable[[str], None]) -> int:
    """Every part that was asked for; 1 when one failed."""
    began = time.monotonic()
    parts = options.only or ["kills", *FAULTS]
    failed = []
    if "kills" in parts:
        try:
            say(kills(options, work, say))
        except (AssertionError, subprocess.TimeoutExpired) as error:
            say(f"FAILED: {error}")
            failed.append("kills")
            kill_what_is_left()
    others = [part for part in parts if part != "kills"]
    if others:
        reference, _, seconds = undisturbed(work / "reference", 3)
        say(f"undisturbed: 3 jobs of {EPOCHS} epochs in {seconds:.0f} s")
    for part in others:
        started = time.monotonic()
        try:
            told = FAULTS[part](work / part, reference)
            say(f"{part:20} {time.monotonic() - started:4.0f} s  {told}")
        except (AssertionError, subprocess.TimeoutExpired) as error:
            say(f"{part:20} FAILED: {error}")
            failed.append(part)
            kill_what_is_left()
    say(f"{'FAILED: ' + ', '.join(failed) if failed else 'all as promised'}; {time.monotonic() - began:.0f} s in all")
    return 1 if failed else 0


if __name__ == "__main__":
    main()
