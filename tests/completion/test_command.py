"""Installing completion, and seeing what would be installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vae_experiments.cli import main
from vae_experiments.completion.shells import SHELLS


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "a home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("ZDOTDIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    return home


def written(home: Path) -> dict[str, str]:
    return {str(path.relative_to(home)): path.read_text() for path in home.rglob("*") if path.is_file()}


@pytest.mark.parametrize("shell", SHELLS)
def test_twice_is_once_and_what_it_wrote_is_said(shell: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if shell != "fish":
        (home / f".{shell}rc").write_text("alias ll='ls -l'")  # without a newline at its end
    assert main(["--install-completion", shell]) == 0
    once = written(home)
    said = capsys.readouterr().out
    assert all(str(home / name) in said for name in once)
    assert SHELLS[shell].script in once.values()
    if shell != "fish":
        assert once[f".{shell}rc"].startswith("alias ll='ls -l'\n[ -f ")
    assert main(["--install-completion", shell]) == 0
    assert written(home) == once
    assert "up to date" in capsys.readouterr().out


def test_the_shell_that_asks_is_found(home: Path) -> None:
    script = 'vae() { python -m vae_experiments "$@"; }; vae --show-completion; true'
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "SHELL": "/bin/fish"}
    shown = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True).stdout
    assert shown == SHELLS["bash"].script


def test_mistakes_are_said_in_one_line(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--install-completion", "tcsh"]) == 2
    assert capsys.readouterr().err == "vae: --install-completion tcsh: no such shell; known: bash, zsh, fish\n"
    assert main(["--show-completion", "bash", "zsh"]) == 2
    (home / ".local").write_text("a file in the way")
    capsys.readouterr()
    assert main(["--install-completion", "bash"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
