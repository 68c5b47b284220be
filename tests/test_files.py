import signal
import subprocess
import sys
from pathlib import Path

WRITER = """
import os, pathlib, signal, sys
from vae_experiments.files import write_atomically

def chunks():
    yield b"new" * 100_000
    os.kill(os.getpid(), signal.SIGKILL)

write_atomically(pathlib.Path(sys.argv[1]), chunks())
"""


def test_a_process_killed_while_writing_leaves_the_old_file_or_none(tmp_path: Path) -> None:
    for before in (None, b"old"):
        path = tmp_path / f"file-{before}"
        if before is not None:
            path.write_bytes(before)
        process = subprocess.run([sys.executable, "-c", WRITER, str(path)], check=False)
        assert process.returncode == -signal.SIGKILL
        assert (path.read_bytes() if path.exists() else None) == before
