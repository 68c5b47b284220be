"""One thing that may stand where the cursor is."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Candidate:
    """A word, or the beginning of one.

    Args:
        text: the whole word.
        about: what it is, in a few words; "" where that is plain.
        ends: whether a blank follows: not behind `key=` or `folder/`.
    """

    text: str
    about: str = ""
    ends: bool = True


def behind(prefix: str, candidates: Iterable[Candidate]) -> Iterator[Candidate]:
    """The candidates as they stand behind something that is typed already."""
    return (replace(each, text=prefix + each.text) for each in candidates)
