import json
import shutil
import subprocess
from pathlib import Path

import pytest

from vae_experiments.tracking import environment
from vae_experiments.tracking.environment import capture, packages, source_code


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=n", "-c", "user.email=e@x", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with one committed package; returns the package's folder."""
    package = tmp_path / "repo" / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("one = 1\n")
    git(tmp_path / "repo", "init", "-q")
    git(tmp_path / "repo", "add", ".")
    git(tmp_path / "repo", "commit", "-q", "-m", "first")
    return package


def test_a_clean_checkout_has_a_commit_and_no_diff(checkout: Path) -> None:
    code = source_code(checkout)
    assert code.commit == git(checkout, "rev-parse", "HEAD").strip()
    assert code.diff == ""


def test_what_is_not_committed_is_in_the_diff(checkout: Path) -> None:
    (checkout / "__init__.py").write_text("two = 2\n")
    (checkout / "new.py").write_text("")
    (checkout.parent / "staged.py").write_text("three = 3\n")
    git(checkout.parent, "add", "staged.py")
    diff = source_code(checkout).diff
    assert "+two = 2" in diff
    assert "+three = 3" in diff
    assert "# ?? package/new.py" in diff


def test_a_very_long_diff_is_cut_and_says_so(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_MAX_DIFF", 1000)
    (checkout / "__init__.py").write_text("x = 1\n" * 1000)
    diff = source_code(checkout).diff
    assert len(diff) < 1200
    assert "# cut here:" in diff


def test_an_installed_package_is_no_part_of_the_repository_around_it(checkout: Path) -> None:
    installed = checkout.parent / ".venv" / "lib" / "package"
    shutil.copytree(checkout, installed)
    code = source_code(installed)
    assert code.commit is None
    assert code.note


def test_a_hooks_environment_does_not_mislead(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/no/such/repository")
    assert source_code(checkout).commit is not None


def test_a_repositorys_own_settings_run_nothing(checkout: Path, tmp_path: Path) -> None:
    (checkout.parent / ".gitattributes").write_text("*.py diff=evil\n")
    for key in ("core.fsmonitor", "diff.external", "diff.evil.textconv", "diff.evil.command"):
        git(checkout, "config", key, f"touch {tmp_path / 'ran'}; false")
    (checkout / "__init__.py").write_text("two = 2\n")
    assert "+two = 2" in source_code(checkout).diff
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("state", ["no git", "no repository", "no commit"])
def test_where_there_is_no_commit_a_note_says_why(state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if state == "no commit":
        git(tmp_path, "init", "-q")
    if state == "no git":
        monkeypatch.setenv("PATH", str(tmp_path))
    code = source_code(tmp_path)
    assert code.commit is None
    assert code.note


def test_a_run_records_packages_and_machine(tmp_path: Path) -> None:
    capture(tmp_path)
    assert "torch==" in (tmp_path / "packages.txt").read_text()
    assert packages().splitlines() == sorted(set(packages().splitlines()), key=str.lower)
    machine = json.loads((tmp_path / "machine.json").read_text())
    assert machine["memory_bytes"] > 0
    assert {"os", "python", "cpu", "cores", "gpus", "torch", "torch_threads", "git_commit"} <= set(machine)
