"""Real services, started here and stopped afterwards: a Slurm cluster of one node, PostgreSQL, an MLflow server.

Only `make test-services` (pytest tests/services) collects these tests: they need Debian packages, which
setup.sh beside this file installs.
"""

import getpass
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests

CPUS = 8  # that the node says it has, so that jobs run side by side on a small machine too
PATIENCE = 180  # seconds: an MLflow server imports a lot, in every one of its processes

SLURM_CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
# Neither systemd nor cgroups, as in a container.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=1000
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=20
SchedulerParameters=sched_interval=1
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory}
PartitionName=main Nodes=ALL Default=YES
"""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    named = any("services" in Path(argument.partition("::")[0]).parts for argument in config.args)
    return None if named else True


@pytest.fixture(scope="session")
def cluster() -> Iterator[Path]:
    """Slurm on this machine, for this process and those that it starts; its folder, with the daemons' logs."""
    with slurm() as folder:
        yield folder


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The address of an MLflow server that keeps runs in PostgreSQL and artifacts in a folder of its own."""
    with postgresql() as database, mlflow_server(database) as address:
        yield address


@contextmanager
def slurm() -> Iterator[Path]:
    host = socket.gethostname().partition(".")[0]
    with ExitStack() as stack:
        folder = stack.enter_context(_folder("slurm"))
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        for name in ("state", "spool"):
            (folder / name).mkdir()
        conf = folder / "slurm.conf"
        ports = {"controller_port": _free_port(), "node_port": _free_port()}
        # More than there may be: jobs are small, and without cgroups nobody holds them to it.
        conf.write_text(
            SLURM_CONF.format(host=host, user=getpass.getuser(), folder=folder, cpus=CPUS, memory=1000 * CPUS, **ports)
        )
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("SLURM_CONF", str(conf))
        files = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "seed", "log", "pid")]
        munged = ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *files]
        stack.enter_context(_daemon(munged, folder / "munged.out"))
        _wait_for("munged", folder, lambda: (folder / "munge.socket").exists())
        stack.enter_context(_daemon(["slurmctld", "-D", "-c", "-f", str(conf)], folder / "slurmctld.log"))
        stack.enter_context(_daemon(["slurmd", "-D", "-c", "-f", str(conf)], folder / "slurmd.log"))
        _wait_for("slurm", folder, lambda: _out("sinfo", "--noheader", "--format=%t").strip() == "idle")
        try:
            yield folder
        finally:
            _out("scancel", f"--user={os.getuid()}")
            _wait_for("the last jobs' end", folder, lambda: not _out("squeue", "--noheader"))


@contextmanager
def postgresql() -> Iterator[str]:
    """A new and empty database on a free port of loopback; its address."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    as_user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []  # it refuses to run as root
    with ExitStack() as stack:
        folder = stack.enter_context(_folder("postgresql"))
        if as_user:
            shutil.chown(folder, "postgres")
        data, port = folder / "data", _free_port()
        make = [*as_user, str(programs / "initdb"), "-D", str(data), "-U", "vae", "--auth=trust", "--encoding=UTF8"]
        subprocess.run(make, check=True, capture_output=True, cwd=folder)
        options = ["-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", str(folder)]
        run = [*as_user, str(programs / "postgres"), *options]
        stack.enter_context(_daemon(run, folder / "postgresql.log"))
        answers = [str(programs / "pg_isready"), "-h", "127.0.0.1", "-p", str(port)]
        _wait_for("postgresql", folder, lambda: "accepting" in _out(*answers))
        yield f"postgresql+psycopg2://vae@127.0.0.1:{port}/postgres"


@contextmanager
def mlflow_server(database: str) -> Iterator[str]:
    """An MLflow server on a free port of loopback, which hands artifacts through; its address."""
    with ExitStack() as stack:
        folder = stack.enter_context(_folder("mlflow"))
        port = _free_port()
        stores = ["--backend-store-uri", database, "--artifacts-destination", str(folder / "artifacts")]
        where = ["--host", "127.0.0.1", "--port", str(port), "--workers", "2"]
        # Without the processes for MLflow's own background jobs, of which there are more than workers.
        command = ["env", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false", sys.executable, "-m", "mlflow", "server"]
        stack.enter_context(_daemon([*command, *stores, *where], folder / "mlflow.log"))

        def answers() -> bool:
            try:
                return requests.get(f"http://127.0.0.1:{port}/health", timeout=5).ok
            except requests.RequestException:
                return False

        _wait_for("mlflow", folder, answers)
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _folder(name: str) -> Iterator[Path]:
    """A temporary folder with a short path, as sockets need it, that other users can look into."""
    with tempfile.TemporaryDirectory(prefix=f"vae-{name}-", ignore_cleanup_errors=True) as made:
        path = Path(made)
        path.chmod(0o755)
        yield path


@contextmanager
def _daemon(command: list[str], log: Path) -> Iterator[None]:
    """A process in the foreground, which ends with this one, however that ends."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *command], stdout=out, stderr=out, cwd=log.parent, start_new_session=True
        )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_for(what: str, folder: Path, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ready():
        if time.monotonic() > deadline:
            logs = "\n".join(path.read_text(errors="replace")[-2000:] for path in folder.glob("*.[lo][ou][gt]"))
            raise TimeoutError(f"{what}: not within {PATIENCE} s\n{logs}")
        time.sleep(0.2)


def _out(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
