"""Which steps of a metric are on record."""

from bisect import bisect_left


class Steps:
    """A set of whole numbers as the ranges that they make: a run's epochs take the room of one, however many."""

    def __init__(self) -> None:
        self._ranges: list[range] = []  # ascending, and no two that touch

    def __contains__(self, step: int) -> bool:
        at = self._place(step)
        return at < len(self._ranges) and step in self._ranges[at]

    def add(self, step: int) -> None:
        """Adds a step; one that is there already changes nothing."""
        if step in self:
            return
        at = self._place(step)
        follows = at > 0 and self._ranges[at - 1].stop == step
        precedes = at < len(self._ranges) and self._ranges[at].start == step + 1
        start = self._ranges[at - 1].start if follows else step
        stop = self._ranges[at].stop if precedes else step + 1
        self._ranges[at - follows : at + precedes] = [range(start, stop)]

    def _place(self, step: int) -> int:
        """Of the first range that does not end before `step`."""
        return bisect_left(self._ranges, step + 1, key=lambda each: each.stop)
