"""The wheel alone, in a clean environment and an empty folder, is the whole program."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a source distribution, without the network."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(build, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def vae(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed `vae` script, with the wheel and our dependencies, without the checkout."""
    home = tmp_path_factory.mktemp("venv")
    venv.create(home, symlinks=True)
    python = home / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    subprocess.run([*pip, "install", "-qq", "--no-deps", "--no-index", str(wheel)], check=True)
    # A folder named in a .pth file is searched for modules, but its own .pth files, one of which leads to the
    # checkout, are not read.
    where = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(where, capture_output=True, text=True, check=True).stdout.strip())
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return home / "bin" / "vae"


def run(vae: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run([vae, *arguments], env=environment, capture_output=True, text=True, check=False)


def files(folder: Path) -> set[str]:
    found = (path for path in folder.rglob("*.*") if path.is_file())
    return {path.relative_to(folder).as_posix() for path in found if path.suffix not in ("", ".pyc")}


def test_wheel_has_every_config_and_module_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    configs = {f"vae_experiments/conf/{name}" for name in files(ROOT / "conf")}
    modules = {f"vae_experiments/{name}" for name in files(ROOT / "vae_experiments")}
    plugins = {f"hydra_plugins/{name}" for name in files(ROOT / "hydra_plugins")}
    assert names == configs | modules | plugins
    assert {"vae_experiments/conf/train.yaml", "vae_experiments/py.typed"} <= names


def test_wheel_carries_the_licence(wheel: Path) -> None:
    assert any(name.endswith("/licenses/LICENSE") for name in zipfile.ZipFile(wheel).namelist())


def test_installed_package_is_the_wheels_own(vae: Path) -> None:
    where = [vae.parent / "python", "-c", "import vae_experiments; print(vae_experiments.__file__)"]
    found = subprocess.run(where, capture_output=True, text=True, check=True).stdout
    assert Path(found).is_relative_to(vae.parent.parent)


def test_smoke_experiment_runs_in_an_empty_folder(vae: Path) -> None:
    done = run(vae, "train", "experiment=smoke")
    assert done.returncode == 0, done.stdout + done.stderr
    assert Path("mlflow.db").is_file()
    assert list(Path("outputs").rglob("*.png")), "no picture was left"


OWN_CLASS = """
from dataclasses import dataclass

from torch import nn

from vae_experiments.models.architectures.mlp import MLP


@dataclass(frozen=True, kw_only=True)
class Narrow(MLP):
    width: int

    @property
    def features(self) -> int:
        return self.width

    def encoder(self, image_shape: tuple[int, int, int]) -> nn.Module:
        return nn.Sequential(super().encoder(image_shape), nn.Linear(self.hidden[-1], self.width))
"""

OWN_ARCHITECTURE = """
_target_: my_models.Narrow
hidden: [16]
width: 5
"""

OWN_EXPERIMENT = """
# @package _global_
defaults:
  - override /dataset: mnist5k
  - override /architecture: narrow
trainer:
  max_epochs: 1
"""


def test_own_config_folder_and_own_class_in_the_working_directory(vae: Path) -> None:
    for name, text in {
        "my_models.py": OWN_CLASS,
        "my_conf/architecture/narrow.yaml": OWN_ARCHITECTURE,
        "my_conf/experiment/mine.yaml": OWN_EXPERIMENT,
    }.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text.lstrip())
    mine = ("train", "--config-dir", "my_conf", "experiment=mine")

    done = run(vae, *mine)
    assert done.returncode == 0, done.stdout + done.stderr

    mistyped = run(vae, *mine, "architecture.width=wide")
    assert mistyped.returncode == 2
    assert "architecture.width" in mistyped.stderr
    assert len(mistyped.stderr.splitlines()) == 1
