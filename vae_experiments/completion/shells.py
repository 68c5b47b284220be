"""What each shell is told, and how an answer reaches it."""

import os
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vae_experiments.completion.candidate import Candidate

# The command that is asked is the one that was typed, which may be one of several environments'.
_BASH = """\
# Completion of the vae command; made by vae --install-completion.
_vae_complete() {
    local IFS=$'\\n' vae="${1/#\\~\\//$HOME/}" line="${COMP_LINE:0:COMP_POINT}"
    COMPREPLY=($(COMP_WORDBREAKS="$COMP_WORDBREAKS" "$vae" --complete bash "$line" 2>/dev/null))
}
complete -o nospace -F _vae_complete vae
"""

_ZSH = """\
# Completion of the vae command; made by vae --install-completion.
_vae_complete() {
    local -a ended ended_about open open_about
    local kind text about
    while IFS=$'\\t' read -r kind text about; do
        if [[ $kind == ends ]]; then
            ended+=("$text") ended_about+=("$text${about:+  -- $about}")
        else
            open+=("$text") open_about+=("$text${about:+  -- $about}")
        fi
    done < <(${~words[1]} --complete zsh "${(j: :)words[1,CURRENT-1]} $PREFIX" 2>/dev/null)
    (( $#ended )) && compadd -Q -l -d ended_about -a ended
    (( $#open )) && compadd -Q -l -S '' -d open_about -a open
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -u }
compdef _vae_complete vae
"""

_FISH = """\
# Completion of the vae command; made by vae --install-completion.
function __vae_complete
    set -l command (commandline -opc)[1]
    eval $command --complete fish '(commandline -cp)' 2>/dev/null
end
complete -c vae -f -k -a '(__vae_complete)'
"""


def _for_bash(candidates: Sequence[Candidate], line: str) -> list[str]:
    """The rest of each behind the last `=` or `:` that is typed: bash takes those for the ends of words."""
    breaks = [character for character in os.environ.get("COMP_WORDBREAKS", "=:") if character in "=:"]
    try:
        typed = shlex.split(line + "\0")[-1].partition("\0")[0]
        kept = max((typed.rfind(character) + 1 for character in breaks), default=0)
    except ValueError:  # within a quote nothing ends a word
        kept = 0
    return [each.text[kept:] + " " * each.ends for each in candidates]


def _for_zsh(candidates: Sequence[Candidate], line: str) -> list[str]:
    return [f"{'ends' if each.ends else 'open'}\t{each.text}\t{_plain(each.about)}" for each in candidates]


def _for_fish(candidates: Sequence[Candidate], line: str) -> list[str]:
    return [f"{each.text}\t{_plain(each.about)}" for each in candidates]


def _plain(about: str) -> str:
    """In one line, and no longer than beside a key it fits on a screen."""
    text = re.sub(r"[^ -~]+", " ", about)
    return text if len(text) <= 60 else f"{text[:57]}..."


@dataclass(frozen=True)
class Shell:
    """A shell's script, and how it is answered: the candidates and the line, to lines."""

    script: str
    answered: Callable[[Sequence[Candidate], str], list[str]]


SHELLS = {
    "bash": Shell(_BASH, _for_bash),
    "zsh": Shell(_ZSH, _for_zsh),
    "fish": Shell(_FISH, _for_fish),
}
