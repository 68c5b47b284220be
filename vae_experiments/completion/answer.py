"""A line with a cursor, and what may stand there."""

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from vae_experiments.completion.candidate import Candidate, behind
from vae_experiments.completion.groups import Groups, Key, sections
from vae_experiments.completion.refs import paths, refs
from vae_experiments.completion.shells import SHELLS
from vae_experiments.config.paths import conf_dir

_TAKE_A_RUN = ("resume", "generate", "evaluate", "encode", "export", "register")
_PATHS = ("out", "folder", "dataset.root", "dataset.path", "dataset.train", "dataset.test", "hydra.run.dir")
_FLAGS = {"--help": "what the verb does", "--cfg": "print the config, run nothing", "--config-dir": "more configs"}
_MORE_FLAGS = {"train": {"-m": "a sweep"}, "reproduce": {"--quick": "a few epochs, to see that it works"}}
_CFG = ("job", "hydra", "all")


def answer(line: str, verbs: Mapping[str, str]) -> list[Candidate]:
    """What may stand at the end of `line`, a command line from the command's name to the cursor.

    Args:
        line: as typed, quotes and all.
        verbs: each with what it does.
    """
    words = _words(line)
    if not words:
        return []
    *before, typed = words[1:] or [""]
    found = _verb_or_flag(before, verbs) if not before or before[0].startswith("-") else _within(before, typed)
    unique = {each.text: each for each in found if each.text.startswith(typed)}
    return list(unique.values())


def _words(line: str) -> list[str]:
    """The line's words, as the shell reads them; the last one, maybe empty, is the one under the cursor."""
    for closing in ("", "'", '"'):
        try:
            *words, last = shlex.split(line + "\0" + closing)
        except ValueError:  # a quote is open
            continue
        return [*words, last.partition("\0")[0]]
    return []


def _verb_or_flag(before: Sequence[str], verbs: Mapping[str, str]) -> Iterator[Candidate]:
    if before:
        yield from map(Candidate, SHELLS if before[0].endswith("-completion") else ())
        return
    yield from (Candidate(verb, about) for verb, about in verbs.items())
    yield from map(Candidate, ("--help", "--version", "--install-completion", "--show-completion"))


def _within(before: Sequence[str], typed: str) -> Iterator[Candidate]:
    verb, *words = before
    if words and words[-1] == "--cfg":
        return map(Candidate, _CFG)
    if words and words[-1] == "--config-dir":
        return paths(typed, only_folders=True)
    if typed.startswith("-"):
        flags = _FLAGS | _MORE_FLAGS.get(verb, {})
        return (Candidate(flag, about) for flag, about in flags.items())
    return _overrides(verb, words, typed)


def _overrides(verb: str, words: Sequence[str], typed: str) -> Iterator[Candidate]:
    sign = typed[: len(typed) - len(typed.lstrip("+~"))]
    key, equals, value = typed[len(sign) :].partition("=")
    groups = _groups(verb, words, key if equals else "")
    if equals:
        # Behind the last comma or bracket, the others stay: a sweep's values, or a list's.
        done = re.match(r"(?:.*[,\[])?", value)
        assert done is not None
        rest = value[done.end() :]
        yield from behind(f"{sign}{key}={done.group()}", _values(verb, groups, key, rest))
        return
    if not sign:
        if verb in _TAKE_A_RUN and not _bare(words):
            yield from refs(typed, sweeps=verb == "resume")
        if verb == "compare":
            yield Candidate("all", "the whole experiment")
            yield from refs(typed, sweeps=True)
        if verb == "reproduce" and not _bare(words):
            yield from map(Candidate, groups.options("table"))
    ending = "" if sign == "~" else "="
    for group, choice in groups.chosen.items():
        yield Candidate(f"{sign}{group}{ending}", f"now {choice or 'none'}", ends=not ending)
    names = dict.fromkeys(sections(iter(groups.keys), key))
    for name in names:
        if name.endswith("."):
            yield Candidate(sign + name, ends=False)
        else:
            yield Candidate(f"{sign}{name}{ending}", _about(groups.keys[name]), ends=not ending)


def _values(verb: str, groups: Groups, key: str, typed: str) -> Iterable[Candidate]:
    if (verb in _TAKE_A_RUN and key == "run") or (verb == "compare" and key == "runs"):
        return refs(typed, sweeps=verb in ("resume", "compare"))
    if key in _PATHS:
        return paths(typed)
    if key in groups.chosen or key.startswith("hydra/"):
        return map(Candidate, groups.options(key))
    if "@" in key:  # a group that is put elsewhere: +schedule@objective.kl_weight=
        return map(Candidate, groups.options(key.partition("@")[0]))
    return map(Candidate, groups.values(key))


def _groups(verb: str, words: Sequence[str], editing: str) -> Groups:
    """The config as the other words of the line have it."""
    pairs = [word.lstrip("+").partition("=") for word in words if "=" in word]
    typed = {key: value for key, _, value in pairs if key != editing and re.fullmatch(r"[\w-]+", value)}
    own = [Path(folder) for flag, folder in pairwise(words) if flag in ("--config-dir", "-cd")]
    own += [Path(word.partition("=")[2]) for word in words if word.startswith("--config-dir=")]
    return Groups(verb, [conf_dir(), *own], typed)


def _bare(words: Sequence[str]) -> list[str]:
    """The words that are neither a key nor a flag: the run, if it is named already."""
    return [word for word in words if "=" not in word and not word.startswith("-")]


def _about(key: Key) -> str:
    value = "null" if key.value is None else str(key.value).lower() if isinstance(key.value, bool) else str(key.value)
    return f"{value}: {key.comment}" if key.comment else value
