"""Jobs on a Slurm cluster: each run of a sweep is a Slurm job of its own, submitted through submitit.

Slurm jobs do not depend on the sweep's process: when that dies they go on, and a resumed sweep takes them up
again. What a job leaves in `<job folder>/slurm/`, which the cluster's machines must share:

ID_submission.sh, ID_submitted.pkl   what Slurm was asked to run
ID_0_log.out, ID_0_log.err           what was said before the run's own run.log, and by Slurm
ID.stop                              the sweep asks it to leave
ID.left                              it ended by itself, whatever Slurm calls that
"""

import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

from annotated_types import Ge, Gt

from vae_experiments.errors import InputError
from vae_experiments.sweeps.executors.base import Executor, Handle, Order
from vae_experiments.sweeps.executors.slurm_queue import ENDED, Queue, ask, fields_of

log = logging.getLogger(__name__)

FOLDER = "slurm"
WARN_SECONDS = 120  # before the time limit; a step, a checkpoint and the record's last lines fit into it

_CURES = {
    "TIMEOUT": "hydra.launcher.timeout_min is too short",
    "OUT_OF_MEMORY": "hydra.launcher.mem_gb is too small",
}


class SlurmExecutor(Executor):
    """Submits jobs to the cluster that this machine's sbatch talks to.

    Args:
        folder: the sweep's; on a file system that the cluster's machines share.
        jobs: submitted at once; how many of them run is Slurm's affair.
        gpus: of this machine, which does not matter here.
        partition: as `sinfo` lists them; None for the cluster's default.
        account: what the time is booked on; None for the user's default.
        qos: quality of service; None for the default.
        timeout_min: time limit of one job, in minutes; two minutes before its end the job saves and leaves.
        cpus_per_task: cores of one job, and its threads.
        gpus_per_node: of one job; None asks for none.
        mem_gb: memory of one job; None for the cluster's default.
        setup: shell lines run on the node before Python.
        additional: other options of sbatch by their long names, as {"constraint": "a100"}; they win.

    Raises:
        InputError: submitit or Slurm is missing here.
    """

    outlives = True

    def __init__(
        self,
        folder: Path,
        jobs: int,
        gpus: int = 0,
        *,
        partition: str | None = None,
        account: str | None = None,
        qos: str | None = None,
        timeout_min: Annotated[int, Ge(5)] = 60,
        cpus_per_task: Annotated[int, Ge(1)] = 1,
        gpus_per_node: Annotated[int, Ge(1)] | None = None,
        mem_gb: Annotated[float, Gt(0)] | None = None,
        setup: list[str] | None = None,
        additional: dict[str, str | int | bool] | None = None,
    ) -> None:
        try:
            import submitit  # noqa: F401
        except ImportError as error:
            raise InputError("hydra/launcher=slurm needs submitit: pip install 'vae-experiments[slurm]'") from error
        for program in ("sbatch", "srun", "squeue", "scontrol", "scancel"):
            if shutil.which(program) is None:
                raise InputError(
                    f"hydra/launcher=slurm: no {program} on the PATH: start the sweep where Slurm's commands are, "
                    "such as the cluster's login node, or use hydra/launcher=local"
                )
        self.capacity = jobs
        self._sweep = folder.name
        self._queue = Queue()
        self._handles: list[SlurmHandle] = []
        self._parameters: dict[str, Any] = {
            "partition": partition,
            "account": account,
            "qos": qos,
            "time": timeout_min,
            "nodes": 1,
            "ntasks_per_node": 1,
            "cpus_per_task": cpus_per_task,
            # Since Slurm 22.05 a step does not take this over from its job, and would run on one core.
            "srun_args": [f"--cpus-per-task={cpus_per_task}"],
            "gpus_per_node": gpus_per_node,
            "mem": None if mem_gb is None else f"{round(mem_gb * 1024)}M",
            "setup": setup,
            "additional_parameters": {"signal": f"USR2@{WARN_SECONDS}"} | (additional or {}),
        }

    def submit(self, order: Order) -> "SlurmHandle":
        """Raises InputError when Slurm refuses the job."""
        handle = self._under_way(order.folder) or self._submit(order)
        self._handles.append(handle)
        return handle

    def close(self) -> None:
        for handle in self._handles:
            if not handle.asked and handle.ended() is None:
                handle.stop()

    def _submit(self, order: Order) -> "SlurmHandle":
        from submitit.core.utils import FailedJobError, FailedSubmissionError
        from submitit.slurm.slurm import SlurmExecutor as Submitter

        folder = order.folder / FOLDER
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # what is submitted may hold a store's password
        submitter = Submitter(folder)
        asked = {key: value for key, value in self._parameters.items() if value is not None}
        submitter.update_parameters(job_name=self._name(order.folder), **asked)
        # sbatch hands this process's environment on; the order's own copy would undo what `setup` did to it.
        order = replace(order, environment={})
        try:
            with _outside_a_job(), _undisturbed():
                job = submitter.submit(run_order, order)
        except (FailedJobError, FailedSubmissionError) as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            said = [line for line in lines if line.startswith("sbatch: ")] or lines
            raise InputError(f"hydra/launcher=slurm: {said[-1]}: see its keys, hydra.launcher.*") from error
        return SlurmHandle(job.job_id, folder, self._queue)

    def _under_way(self, path: Path) -> "SlurmHandle | None":
        """The Slurm job that an earlier process of this sweep submitted for this folder, if it has not ended."""
        folder = path / FOLDER
        for script in folder.glob("*_submission.sh"):
            handle = SlurmHandle(script.name.partition("_")[0], folder, self._queue)
            if handle.is_in_queue(self._name(path)):
                log.info("job %s goes on as Slurm job %s", path.name, handle.job_id)
                return handle
        return None

    def _name(self, path: Path) -> str:
        """What squeue shows for the job in `path`; of one word, as scontrol's answers are cut at spaces."""
        return "_".join(f"{self._sweep}/{path.name}".split())


class SlurmHandle(Handle):
    """A Slurm job.

    Args:
        job_id: Slurm's.
        folder: where it leaves its files.
        queue: what knows its state.
    """

    def __init__(self, job_id: str, folder: Path, queue: "Queue") -> None:
        self.job_id = job_id
        self.asked = False
        self._folder = folder
        self._queue = queue
        self._since = time.monotonic()
        self._end: str | None = None

    def ended(self) -> str | None:
        if self._end is None:
            state = self._queue.state(self.job_id, self._since)
            if state is not None and (state == "" or state in ENDED):
                self._end = self._how(state)
        return self._end

    def stop(self) -> None:
        if self.asked:
            ask("scancel", self.job_id)
            return
        self.asked = True
        # For a job that has its node but not its Python yet: a signal to it would go to nobody.
        self._file("stop").touch()
        ask("scancel", "--state=PENDING", self.job_id)
        ask("scancel", "--signal=TERM", self.job_id)  # to the step, which is Python, not to the shell around it

    def is_in_queue(self, name: str) -> bool:
        """Whether it waits or runs, under this name; Slurm may give a number out again."""
        fields = fields_of(ask("scontrol", "--oneliner", "show", "job", self.job_id) or "")
        return fields.get("JobName") == name and fields.get("JobState", "") not in ENDED

    def _how(self, state: str) -> str:
        """How it ended, given what squeue calls that: "" when it did so by itself."""
        fields = fields_of(ask("scontrol", "--oneliner", "show", "job", self.job_id) or "")
        if not fields:  # forgotten, which takes minutes; where there is accounting, that has it
            answer = ask("sacct", "--allocations", "--noheader", "--parsable2", "-oState,ExitCode", "-j", self.job_id)
            fields = dict(zip(("JobState", "ExitCode"), (answer or "").strip().split("|"), strict=False))
        state = fields.get("JobState") or state
        own, _, by_signal = (fields.get("ExitCode") or "0:0").partition(":")
        self._look_anew()
        if self._file("left").is_file():
            why = self._file("left").read_text() or ("" if state in ("COMPLETED", "FAILED") else state)
            if why and not self.asked:
                log.warning("Slurm job %s saved its state and left: %s", self.job_id, why)
            return ""
        if state == "COMPLETED":
            return ""
        if state == "FAILED":
            signum = int(by_signal) or max(int(own) - 128, 0)
            how = f"was killed by {_signal_name(signum)}" if signum else f"ended with status {own}"
            return f"Slurm job {self.job_id} {how}; see {self._folder / self.job_id}_0_log.err"
        words = state or "has gone from the queue, and nothing says why"
        cure = f" ({_CURES[state]})" if state in _CURES else ""
        return f"Slurm job {self.job_id}: {words}{cure}"

    def _file(self, name: str) -> Path:
        return self._folder / f"{self.job_id}.{name}"

    def _look_anew(self) -> None:
        """Makes a network file system forget what it remembers of the folder."""
        with suppress(OSError):
            self._folder.chmod(self._folder.stat().st_mode)


def run_order(order: Order) -> None:
    """What the Slurm job's process does; it ends with the run's exit status."""
    here, job_id = order.folder / FOLDER, os.environ["SLURM_JOB_ID"]
    left, told = here / f"{job_id}.left", []

    def pass_on(signum: int, frame: FrameType | None) -> None:
        told.append("its time limit is near, or its node is wanted for another job")
        signal.raise_signal(signal.SIGTERM)

    # submitit would swallow SIGTERM, and put the job into the queue again at SIGUSR2.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGCONT, signal.SIG_DFL)
    signal.signal(signal.SIGUSR2, pass_on)
    from vae_experiments.sweeps.job import run  # takes seconds, in which a signal may come

    left.unlink(missing_ok=True)  # of a time before Slurm itself put the job into the queue again
    status = 128 + signal.SIGTERM
    if not (here / f"{job_id}.stop").exists():
        status = run(order)
    with suppress(OSError):  # a full disk: Slurm's own words will do
        left.write_text("".join(told[:1]))
    sys.exit(status)


@contextmanager
def _outside_a_job() -> Iterator[None]:
    """Hides the Slurm job that the sweep itself may run in: what describes that one would be taken as asked for.

    submitit's own clean_env also hides SLURM_CONF, and what a site or a person set for every sbatch.
    """
    names = [name for name in os.environ if name.startswith(("SLURM_", "SUBMITIT_")) and name != "SLURM_CONF"]
    hidden = {name: os.environ.pop(name) for name in names}
    try:
        yield
    finally:
        os.environ.update(hidden)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keeps a Ctrl-C, which goes to every process of the terminal, from a command between asking and answering."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _signal_name(signum: int) -> str:
    memory = ", as a system that is out of memory does" if signum == signal.SIGKILL else ""
    return (signal.Signals(signum).name if signum in set(signal.Signals) else f"signal {signum}") + memory
