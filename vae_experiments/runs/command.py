"""The commands that would train a run once more, from the words that were typed, or go on with it."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.conf import ConfigSourceInfo
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from vae_experiments.config.construct import TRUSTED
from vae_experiments.config.verb import quote
from vae_experiments.errors import InputError
from vae_experiments.runs.folder import COMMAND, RunFolder
from vae_experiments.runs.sweep_folder import SweepFolder

_OF_THE_SWEEP = ("hydra", "sweep", "plan")  # words about how many runs there are, and where they go
_OWN_CONFIGS = "hydra.searchpath"
_LATENT_DIM = "architecture.latent_dim"
_KNOWN = tuple(f"{package}." for package in TRUSTED)


def own_configs(sources: Sequence[ConfigSourceInfo]) -> list[str]:
    """The folders of configs that were named beside the program's, as an override; none where there are none.

    Args:
        sources: Hydra's list of where it looks, `hydra.runtime.config_sources`.
    """
    own = [each for each in sources if "command-line" in each.provider]  # --config-dir, or the override itself
    folders = ",".join(quote(f"{each.schema}://{each.path}") for each in own)
    return [f"{_OWN_CONFIGS}=[{folders}]"] if own else []


def as_typed(words: Sequence[str]) -> list[str]:
    """The same words with `--config-dir` for the folder of configs that `own_configs` wrote down, where it is one.

    Args:
        words: of a command on record; the folder is relative in it where it is below the working directory.
    """
    for word in words:
        key, _, value = word.partition("=")
        if key.lstrip("+") == _OWN_CONFIGS:
            match OverridesParser.create().parse_override(f"key={value}").value():
                case [str(url)] if url.startswith("file://"):
                    path, here = Path(url.removeprefix("file://")), Path.cwd()
                    folder = path.relative_to(here) if path.is_relative_to(here) else path
                    return ["--config-dir", str(folder), *(other for other in words if other != word)]
    return list(words)


def single_run(path: Path) -> list[str] | None:
    """The words that train the run in the folder `path`, a sweep's job or not; None where nobody wrote them down.

    Where it goes is left out: the same folder cannot be used twice. A job has its share of the machine's
    threads, and other numbers of them add in another order: its words say how many.
    """
    sweep = SweepFolder(path.parent)
    if sweep.exists and path.name.isdigit():
        with suppress(InputError):
            plan = sweep.plan()
            for job in plan.jobs:
                if job.number == int(path.name):
                    words = of_job(plan.command, job.varied)
                    threads = RunFolder(path).config().get("trainer", {}).get("threads")
                    given = any(word.lstrip("+").startswith("trainer.threads=") for word in words)
                    return as_typed(words if given or threads is None else [*words, f"trainer.threads={threads}"])
        return None
    try:
        words = json.loads((path / COMMAND).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return as_typed([str(word) for word in words if not _about_the_sweep(str(word))])


def override(key: str, value: object) -> str:
    """The word that gives `key` just this value."""
    return f"{key}={_value(value)}"


def of_job(command: Sequence[str], varied: Mapping[str, object]) -> list[str]:
    """The overrides of a sweep's job.

    Args:
        command: what was typed for the sweep.
        varied: the job's values of the swept keys.
    """
    left = dict(varied)
    words = []
    for word in command:
        key = word.partition("=")[0]
        if key.lstrip("+") in left:
            prefix = "+" * (len(key) - len(key.lstrip("+")))
            words.append(f"{prefix}{key.lstrip('+')}={_value(left.pop(key.lstrip('+')))}")
        elif not _about_the_sweep(word):
            words.append(word)
    return [*words, *(f"{key}={_value(value)}" for key, value in left.items())]


def with_other_latent_dim(path: Path) -> list[str] | None:
    """The words for the run in the folder `path`, but with eight latent dimensions, or sixteen where it has eight.

    None where nobody wrote them down, or where the architecture, someone's own, has no such key. The name is left
    out: it is the other run's.
    """
    words, architecture = single_run(path), RunFolder(path).config().get("architecture")
    if words is None or not isinstance(architecture, Mapping) or "latent_dim" not in architecture:
        return None
    kept = [word for word in words if word.partition("=")[0].lstrip("+") not in (_LATENT_DIM, "name")]
    return [*kept, f"{_LATENT_DIM}={16 if architecture['latent_dim'] == 8 else 8}"]


def program(path: Path) -> list[str]:
    """What stands before the verb to train on as many processes as the run in the folder `path` was started on."""
    with suppress(InputError):
        processes = RunFolder(path).info().processes
        if processes > 1:
            return ["torchrun", "--standalone", f"--nproc-per-node={processes}", "-m", "vae_experiments"]
    return ["vae"]


def resume_command(path: Path, config: Mapping[str, Any]) -> str:
    """What continues the run in the folder `path`, for a shell."""
    return shlex.join([*program(path), "resume", str(path), *trust(config)])


def trust(config: Mapping[str, Any], also: Sequence[str] = ()) -> list[str]:
    """The override without which no command reads the stored config: it names classes of the user's own.

    Args:
        config: a run's, or whatever holds several.
        also: packages that the command trusts without being asked, besides those that every command does.
    """
    known = (*_KNOWN, *(f"{package}." for package in also))
    names = {target.partition(".")[0] for target in _targets(config) if not target.startswith(known)}
    return [f"trust=[{','.join(sorted(names))}]"] if names else []


def _targets(value: object) -> Iterator[str]:
    if isinstance(value, Mapping) and "_target_" in value:
        yield str(value["_target_"])
    for child in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from _targets(child)


def _about_the_sweep(word: str) -> bool:
    key = word.partition("=")[0].lstrip("+~")
    if key == _OWN_CONFIGS:
        return False
    return any(key == name or key.startswith((f"{name}.", f"{name}/")) for name in _OF_THE_SWEEP)


def _value(value: object) -> str:
    """What means `value` after the "=" of an override."""
    if isinstance(value, str):
        return value if _reads_as(value) else quote(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_value(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_value, value)) + "]"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return repr(value)  # of numbers, infinities among them


def _reads_as(text: str) -> bool:
    """Whether Hydra reads the text, as it stands, as that text, in a list too."""
    try:
        return OverridesParser.create().parse_override(f"key=[{text}]").value() == [text]
    except HydraException:
        return False
