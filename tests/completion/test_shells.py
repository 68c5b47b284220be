"""The real shells, as a person at a terminal has them: what Tab makes of a line."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vae_experiments.completion.shells import SHELLS

BIN = Path(sys.executable).parent  # the vae that these tests belong to
TAB, ALL, LINE_START = "\t", "\x1b*", "\x01"


class Terminal:
    """An interactive shell behind a terminal of 200 columns."""

    def __init__(self, *command: str, **environment: str) -> None:
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            env={"TERM": "dumb", "COLUMNS": "200", **environment},
        )  # fmt: skip
        os.close(slave)

    def until(self, pattern: str, seconds: float = 60) -> re.Match[str]:
        """Reads until the pattern has come."""
        seen = ""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([self.master], [], [], 0.1)[0]:
                seen += os.read(self.master, 4096).decode(errors="replace")
                found = re.search(pattern, seen)
                if found:
                    return found
        pytest.fail(f"{pattern!r} did not come: {seen!r}")

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person's home, with completion installed for every shell."""
    home = tmp_path_factory.mktemp("home")
    for shell in SHELLS:
        done = subprocess.run(
            [BIN / "vae", "--install-completion", shell],
            env=environment(home),
            capture_output=True,
            text=True,
            check=True,
        )
        assert f"completion works in every new {shell}" in done.stdout
    return home


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("ZDOTDIR", "BASH_ENV", "ENV")}
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return kept | {"PATH": path, "HOME": str(home), "XDG_CONFIG_HOME": "", "XDG_DATA_HOME": ""}


def completed(terminal: Terminal, line: str, keys: str) -> list[str]:
    """The words of the line that those keys made of `line`: it is run with printf in front of it."""
    terminal.type(line + keys)
    time.sleep(0.1)
    terminal.type(f"{LINE_START}printf '<%s>' \r")
    found = terminal.until(r"\n\r?((?:<[^<>]*>)+)")
    return re.findall(r"<([^<>]*)>", found[1])


CASES = {
    "vae tra": ["vae", "train"],
    "vae train experim": ["vae", "train", "experiment="],
    "vae train dataset=fa": ["vae", "train", "dataset=fashion_mnist"],
    "vae train architecture.lat": ["vae", "train", "architecture.latent_dim="],
    "vae train dataset=csv dataset.he": ["vae", "train", "dataset=csv", "dataset.height="],
    "vae train dataset.binarization=dy": ["vae", "train", "dataset.binarization=dynamic"],
    "vae train -m dataset=mnist,fa": ["vae", "train", "-m", "dataset=mnist,fashion_mnist"],
    "vae generate lat": ["vae", "generate", "latest"],
    "vae generate wide-mo": ["vae", "generate", "wide-model"],
    "vae generate run=outputs/2": ["vae", "generate", "run=outputs/2026-01-01_00-00-00"],
    "vae evaluate outp": ["vae", "evaluate", "outputs/"],
    "vae generate latest what=[samples,man": ["vae", "generate", "latest", "what=[samples,manifold"],
}


@pytest.fixture
def runs() -> None:
    folder = Path("outputs/2026-01-01_00-00-00")
    folder.mkdir(parents=True)
    (folder / "config.yaml").touch()
    (folder / "run.json").write_text('{"name": "wide-model", "signature": "", "status": "FINISHED"}')


@pytest.fixture
def bash(home: Path) -> Iterator[Terminal]:
    terminal = Terminal("bash", "-i", **environment(home))
    terminal.type("PS1='rea''dy> '; bind 'set enable-bracketed-paste off'\r")
    terminal.until("ready> ")
    yield terminal
    terminal.close()


@pytest.mark.usefixtures("runs")
def test_bash_completes(bash: Terminal) -> None:
    for line, words in CASES.items():
        assert completed(bash, line, TAB) == words, line


@pytest.mark.usefixtures("runs")
def test_bash_offers_every_choice(bash: Terminal) -> None:
    assert completed(bash, "vae train likelihood=gaussian", ALL)[2:] == [
        "likelihood=gaussian", "gaussian_learned", "gaussian_per_pixel",
    ]  # fmt: skip
    assert completed(bash, "vae encode part=", ALL)[2:] == ["part=all", "test", "train", "val"]


@pytest.mark.usefixtures("runs")
@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_completes(home: Path) -> None:
    terminal = Terminal("zsh", "-i", **environment(home) | {"ZDOTDIR": str(home)})
    try:
        terminal.type("unsetopt zle_bracketed_paste prompt_cr prompt_sp; bindkey -e; PS1='rea''dy> '\r")
        terminal.until("ready> ")
        for line, words in CASES.items():
            if "[" in line:  # which zsh wants quoted
                continue
            assert completed(terminal, line, TAB) == words, line
    finally:
        terminal.close()


@pytest.mark.usefixtures("runs")
@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_offers(home: Path) -> None:
    for line, words in CASES.items():
        ask = ["fish", "-c", f"complete -C {line!r}"]
        done = subprocess.run(ask, env=environment(home), capture_output=True, text=True, check=True)
        offered = {text: about for text, _, about in (row.partition("\t") for row in done.stdout.splitlines())}
        assert words[-1] in offered, line
        if words[-1] == "train":
            assert offered["train"] == "train one model, or with -m a sweep of them"
