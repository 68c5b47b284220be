"""What every test starts from: one thread, an empty working directory and cache, no settings from outside."""

import os
import signal
from pathlib import Path

import pytest

# Before torch is imported, here and in every process that a test starts: two tests run at a time.
os.environ["OMP_NUM_THREADS"] = "1"
for _name in [name for name in os.environ if name.startswith(("MLFLOW_", "VAE_"))]:
    del os.environ[_name]
# A suite that was started in the background has Ctrl-C ignored, and so would everything that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    # Kept between runs: matplotlib would list the machine's fonts anew in every empty cache.
    os.environ["MPLCONFIGDIR"] = str(config.cache.mkdir("matplotlib"))


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Set by MLflow's own functions. The package's own MLFLOW_ settings stay: they are made once a process.
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
