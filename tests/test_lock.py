import subprocess
import sys
from pathlib import Path

import pytest

from vae_experiments.errors import InputError
from vae_experiments.lock import RunLock, is_held

HOLD = """
import sys, time
from pathlib import Path
from vae_experiments.lock import RunLock
with RunLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(300)
"""


def test_a_run_has_one_writer_and_is_free_when_that_one_dies(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert not is_held(folder)
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    assert is_held(folder)
    with pytest.raises(InputError, match="another process is writing this run"), RunLock(folder):
        pass
    child.kill()
    child.wait()
    assert not is_held(folder)
    with RunLock(folder):
        assert is_held(folder)
    assert not is_held(folder)
