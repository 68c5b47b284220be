"""The flags behind completion: --complete, which the shell asks; --install-completion; --show-completion."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from vae_experiments.completion.shells import SHELLS
from vae_experiments.errors import InputError


def main(arguments: Sequence[str], verbs: Mapping[str, str]) -> None:
    """Runs one of the three flags, the first of the arguments.

    Raises:
        InputError: a shell that is not known, or files that cannot be written.
    """
    flag, *rest = arguments
    if flag == "--complete":
        _complete(*rest, verbs=verbs)
        return
    if len(rest) > 1:
        raise InputError(f"{flag}: takes one of {', '.join(SHELLS)}, or nothing: then it is the shell that runs this")
    shell = rest[0] if rest else _running()
    if shell not in SHELLS:
        raise InputError(f"{flag} {shell}: no such shell; known: {', '.join(SHELLS)}")
    if flag == "--show-completion":
        print(SHELLS[shell].script, end="")
    else:
        print(*install(shell), sep="\n")


def _complete(shell: str = "", line: str = "", *, verbs: Mapping[str, str]) -> None:
    from vae_experiments.completion.answer import answer

    if shell in SHELLS:
        print(*SHELLS[shell].answered(answer(line, verbs), line), sep="\n")


def install(shell: str) -> list[str]:
    """Writes the shell's script, and for bash and zsh the line that reads it; what was done, line for line.

    Raises:
        InputError: a file cannot be written.
    """
    home = Path.home()
    script = _script_path(shell, home)
    said = []
    try:
        said.append(_write(script, SHELLS[shell].script))
        if shell != "fish":  # which finds it by itself
            start = Path(os.environ.get("ZDOTDIR") or home) / ".zshrc" if shell == "zsh" else home / ".bashrc"
            said.append(_add_line(start, f'[ -f "{script}" ] && . "{script}"  # completion of the vae command'))
    except OSError as error:
        raise InputError(
            f"{error.filename}: {error.strerror}: put what `vae --show-completion {shell}` prints into a file of yours"
        ) from error
    return [*said, f"completion works in every new {shell}"]


def _script_path(shell: str, home: Path) -> Path:
    if shell == "fish":
        return Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "fish" / "completions" / "vae.fish"
    return (
        Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "vae-experiments" / f"completion.{shell}"
    )


def _write(path: Path, text: str) -> str:
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return f"{path}: is up to date"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return f"{path}: written"


def _add_line(path: Path, line: str) -> str:
    text = path.read_text(encoding="utf-8", errors="surrogateescape") if path.is_file() else ""
    if line in text.splitlines():
        return f"{path}: reads it already"
    with path.open("a", encoding="utf-8") as file:
        file.write(("\n" if text and not text.endswith("\n") else "") + line + "\n")
    return f"{path}: one line added, which reads it"


def _running() -> str:
    """The shell that this command was typed in: the nearest process above that is one, else the user's own."""
    import psutil

    try:
        for process in psutil.Process().parents():
            name = process.name().lstrip("-")
            if name in SHELLS:
                return name
    except psutil.Error:
        pass
    name = Path(os.environ.get("SHELL", "")).name
    if name not in SHELLS:
        raise InputError(f"which shell? give one: vae --install-completion {' or '.join(SHELLS)}")
    return name
