"""Words for a name that does not exist: the nearest ones that do."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The nearest name as a question, and all the known ones: did you mean 'x'? (known: x, y)."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    listing = f"known: {', '.join(names)}" if names else "it takes none"
    return f"did you mean {near[0]!r}? ({listing})" if near else listing
