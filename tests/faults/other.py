"""Other things that go wrong while a sweep runs, each for real; what every one of them must come to in the end."""

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psutil
from faults.lab import EPOCHS, LIMIT, Trial, assert_recorded, assert_same, kill_everything, members, wait_for

LOCKED_SECONDS = 35.0  # longer than any of the program's own waits for a lock
AWAY_SECONDS = 15.0


def begin_and_train(trial: Trial) -> subprocess.Popen[bytes]:
    """The sweep's first command, once a job has finished an epoch and not yet all."""
    process = trial.begin()
    wait_for(lambda: underway(trial), process)
    return process


def underway(trial: Trial) -> list[int]:
    """Jobs in the middle of their training."""
    return [n for n, epochs in enumerate(trial.epochs()) if 0 < epochs < EPOCHS]


def ends_well(trial: Trial, reference: Trial) -> None:
    assert_same(trial, reference)
    assert_recorded(trial)


def job_process(folder: Path) -> psutil.Process:
    """The process whose output goes to the job's log."""
    for process in psutil.process_iter():
        try:
            if Path(f"/proc/{process.pid}/fd/1").readlink() == folder / "run.log":
                return process
        except OSError:
            continue
    raise AssertionError(f"no process writes {folder}")


def truncated_checkpoint(work: Path, reference: Trial) -> str:
    """Killed, and the newest checkpoint is cut short: the one before it is taken, and that is said."""
    trial = Trial(work, reference.jobs)
    kill_everything(begin_and_train(trial))
    job = trial.sweep / str(underway(trial)[0])
    (job / "checkpoints" / "new.ckpt").unlink(missing_ok=True)
    last = job / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:-1000])
    trial.run()
    (said,) = [line for line in (job / "run.log").read_text().splitlines() if "falling back" in line]
    ends_well(trial, reference)
    return f"job {job.name} said: {said.partition('checkpoints/')[2]}"


def controller_killed(work: Path, reference: Trial) -> str:
    """The controller alone dies: its jobs save and leave by themselves."""
    trial = Trial(work, reference.jobs)
    process = begin_and_train(trial)
    process.kill()
    process.wait()
    began = time.monotonic()
    wait_for(lambda: not members(process), seconds=60)
    seconds = time.monotonic() - began
    statuses = trial.statuses()
    assert "RUNNING" not in statuses, statuses
    assert "KILLED" in statuses, statuses
    trial.run()
    ends_well(trial, reference)
    return f"its jobs left within {seconds:.1f} s: {', '.join(status or 'not begun' for status in statuses)}"


def job_killed(work: Path, reference: Trial) -> str:
    """One job dies: the others go on, and a resume tries it again."""
    trial = Trial(work, reference.jobs)
    process = begin_and_train(trial)
    number = underway(trial)[0]
    job_process(trial.sweep / str(number)).send_signal(signal.SIGKILL)
    assert process.wait(LIMIT) == 1
    expected = ["FAILED" if n == number else "FINISHED" for n in range(trial.jobs)]
    assert trial.statuses() == expected, trial.statuses()
    said = trial.log.read_text()
    assert f"failed: job {number} " in said, said
    trial.run()
    ends_well(trial, reference)
    return next(line for line in said.splitlines() if line.startswith("failed: "))


def two_resumes(work: Path, reference: Trial) -> str:
    """A second `vae resume` of a sweep is refused in one line, and disturbs nothing."""
    trial = Trial(work, reference.jobs)
    kill_everything(begin_and_train(trial))
    first, since = trial.begin(), time.time()
    wait_for(lambda: trial.trains(since), first)
    before = trial.log.stat().st_size
    os.killpg(first.pid, signal.SIGSTOP)  # so that it does not finish meanwhile
    second = subprocess.run(
        [*first.args, str(trial.sweep)],  # type: ignore[misc] # a list
        cwd=trial.work, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    os.killpg(first.pid, signal.SIGCONT)
    assert second.returncode == 2, second.stderr
    refusal = [line for line in second.stderr.splitlines() if not line.startswith("resuming ")]
    assert len(refusal) == 1, second.stderr
    assert "another process" in refusal[0]
    assert first.wait(LIMIT) == 0, trial.log.read_bytes()[before:].decode()
    ends_well(trial, reference)
    return f"the second: {refusal[0].replace(str(trial.work), '.')}"


def folder_moved(work: Path, reference: Trial) -> str:
    """The sweep's folder lies elsewhere when it is resumed: it goes on there, in the same MLflow runs."""
    trial = Trial(work, reference.jobs)
    kill_everything(begin_and_train(trial))
    old = trial.sweep
    trial.moved = trial.work / "elsewhere" / "sweep"
    trial.moved.parent.mkdir()
    shutil.move(old, trial.moved)
    trial.run()
    assert not old.exists(), sorted(old.rglob("*"))
    ends_well(trial, reference)
    return "went on at its new place, in the same MLflow runs"


def database_locked(work: Path, reference: Trial) -> str:
    """Another process holds the database while jobs train, end and start."""
    trial = Trial(work, reference.jobs)
    process = begin_and_train(trial)
    with closing(sqlite3.connect(trial.work / "mlflow.db", timeout=60, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        time.sleep(LOCKED_SECONDS)
        epochs = trial.epochs()
        database.execute("ROLLBACK")
    return f"locked for {LOCKED_SECONDS:.0f} s, {sum(epochs)} epochs by then; {_outcome(trial, process, reference)}"


def database_missing(work: Path, reference: Trial) -> str:
    """The database is moved away while jobs train, end and start, and moved back: no other takes its place."""
    trial = Trial(work, reference.jobs)
    process = begin_and_train(trial)
    away = trial.work / "away"
    away.mkdir()
    moved = [trial.work / name for name in ("mlflow.db", "mlflow.db-wal", "mlflow.db-shm")]
    for path in moved:
        if path.exists():
            path.rename(away / path.name)
    end, appeared = time.monotonic() + AWAY_SECONDS, 0
    while time.monotonic() < end:
        database = moved[0]
        appeared = max(appeared, database.stat().st_size if database.exists() else -1)
        time.sleep(0.05)
    assert appeared <= 0, f"a new database of {appeared} bytes was made in the place of the one that is away"
    for path in moved:
        if (away / path.name).exists():
            (away / path.name).replace(path)
        else:
            path.unlink(missing_ok=True)
    return f"away for {AWAY_SECONDS:.0f} s; {_outcome(trial, process, reference)}"


def _outcome(trial: Trial, process: subprocess.Popen[bytes], reference: Trial) -> str:
    """What became of a sweep whose database is back: all well now, or after one resume."""
    status = process.wait(LIMIT)
    assert status in (0, 1), trial.log.read_text()
    assert "Traceback" not in trial.log.read_text()
    statuses = trial.statuses()
    try:
        ends_well(trial, reference)
        return f"status {status}, and all was recorded"
    except AssertionError:
        trial.run()
        ends_well(trial, reference)
    return f"status {status}, jobs {', '.join(statuses)}; one resume recorded the rest"


def file_size_limit(work: Path, reference: Trial) -> str:
    """No file can grow any more, as under a quota, until jobs have failed of it."""
    trial = Trial(work, reference.jobs)
    process = begin_and_train(trial)
    _limit(process, 60 * 1024)
    return _after_a_full_disk(trial, process, reference, lambda: _limit(process, resource.RLIM_INFINITY))


def _limit(process: subprocess.Popen[bytes], size: int) -> None:
    for pid in members(process):
        with suppress(psutil.NoSuchProcess):
            psutil.Process(pid).rlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def full_disk(work: Path, reference: Trial) -> str:
    """A disk of its own, filled up while jobs train, and freed when jobs have failed of it."""
    with disk(work) as mounted:
        if not mounted:
            return "skipped: mounting a small disk needs root"
        trial = Trial(work / "work", reference.jobs)
        trial.log = work.parent / f"{work.name}.said.txt"
        process = begin_and_train(trial)
        ballast = work / "ballast"
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while file.write(b"\0" * 65536):
                pass
        return _after_a_full_disk(trial, process, reference, ballast.unlink)


def _after_a_full_disk(
    trial: Trial, process: subprocess.Popen[bytes], reference: Trial, free: Callable[[], None]
) -> str:
    """What is not written yet waits or fails; freed and resumed, all is there."""
    wait_for(lambda: "cannot write" in trial.log.read_text() or process.poll() is not None)
    free()
    status = process.wait(LIMIT)
    said = trial.log.read_text()
    assert status == 1, said
    assert "Traceback" not in said, said
    assert "cannot write" in said, said
    statuses = trial.statuses()
    trial.run()
    ends_well(trial, reference)
    line = next(line for line in said.splitlines() if "cannot write" in line).replace(str(trial.sweep), ".")
    return f"jobs {', '.join(status or 'not begun' for status in statuses)}; {line[:120]}"


def read_only_folder(work: Path, reference: Trial) -> str:
    """A sweep that cannot be written is refused in a line, and goes on when it can."""
    with disk(work) as mounted:
        trial = Trial(work / "work", reference.jobs)
        trial.log = work.parent / f"{work.name}.said.txt"
        kill_everything(begin_and_train(trial))
        if not mounted and os.geteuid() == 0:
            return "skipped: root may write everywhere"
        _protect(trial, mounted, "ro")
        try:
            said = trial.run(str(trial.sweep), status=2)
        finally:
            _protect(trial, mounted, "rw")
        assert "Traceback" not in said, said
        trial.run()
        ends_well(trial, reference)
        return said.strip().splitlines()[-1].replace(str(trial.sweep), ".")


def _protect(trial: Trial, mounted: bool, mode: str) -> None:
    if mounted:
        subprocess.run(["mount", "-o", f"remount,{mode}", str(trial.work.parent)], check=True)
        return
    for path in [trial.sweep, *(path for path in trial.sweep.rglob("*") if path.is_dir())]:
        path.chmod(0o555 if mode == "ro" else 0o755)


@contextmanager
def disk(path: Path, megabytes: int = 48) -> Iterator[bool]:
    """A disk of its own at `path`, where the system lets us; whether it did."""
    path.mkdir(parents=True)
    options = ["-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(path)]
    if subprocess.run(["mount", *options], check=False, capture_output=True).returncode != 0:
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


FAULTS: dict[str, Callable[[Path, Trial], str]] = {
    "truncated-checkpoint": truncated_checkpoint,
    "controller-killed": controller_killed,
    "job-killed": job_killed,
    "two-resumes": two_resumes,
    "folder-moved": folder_moved,
    "database-locked": database_locked,
    "database-missing": database_missing,
    "file-size-limit": file_size_limit,
    "full-disk": full_disk,
    "read-only-folder": read_only_folder,
}
