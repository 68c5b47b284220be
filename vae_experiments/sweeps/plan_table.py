"""A sweep before it runs: each job and what it will take, and all of them together."""

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from vae_experiments.runs.plan import Plan, short_names, shown
from vae_experiments.sweeps import human
from vae_experiments.sweeps.capacity import Capacity, available_memory
from vae_experiments.sweeps.cost import Cost

MOST_ROWS = 40
FIRST, LAST = 20, 15  # rows shown of a longer sweep
MOST_NAMES = 6  # of dropped duplicates


@dataclass(frozen=True)
class PlanTable:
    """Printed by rich, at any width, in plain text where there is no terminal.

    Args:
        plan: what will run.
        costs: of each job, None where it is not known; empty where none was asked for. Of a search, whose
            jobs are not known: of samples of its space.
        capacity: how many at once; None where something else decides it, a cluster for one.
        duplicates: names of jobs that were dropped because another is the same, one entry for each.
    """

    plan: Plan
    costs: Sequence[Cost | None]
    capacity: Capacity | None
    duplicates: Sequence[str] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        jobs = self.plan.jobs
        number = f"{self._count} {'job' if self.plan.search is None else 'trial'}{'s' * (self._count != 1)}"
        yield Text(f"{self.plan.name}: {number}", style="bold")
        if jobs:
            wide = self._table(by_key=True)
            unbounded = options.update(max_width=100_000)
            fits = Measurement.get(console, unbounded, wide).maximum <= options.max_width
            yield wide if fits else self._table(by_key=False)
        yield from (Text(line) for line in self._notes())
        if self.capacity is not None and self.capacity.warning:
            yield Text(self.capacity.warning, style="yellow")

    @property
    def _count(self) -> int:
        return len(self.plan.jobs) if self.plan.search is None else int(self.plan.search["settings"]["n_trials"])

    def _table(self, *, by_key: bool) -> Table:
        """With a column for every swept key, or one for the jobs' names where those do not fit."""
        known = any(cost is not None for cost in self.costs)
        keys = self.plan.keys if by_key else []
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        table.add_column("#", justify="right", no_wrap=True)
        names = short_names(keys)
        for key in keys:
            table.add_column(Text(names[key]), justify=self._justify(key), no_wrap=True)
        if not keys:
            table.add_column("job", overflow="fold")
        for title in ("parameters", "memory", "time") if known else ():
            table.add_column(title, justify="right", no_wrap=True)

        jobs = self.plan.jobs
        hidden = len(jobs) - FIRST - LAST if len(jobs) > MOST_ROWS else 0
        for place, job in enumerate(jobs):
            if not hidden or place < FIRST or place >= len(jobs) - LAST:
                values = [_setting(job.varied.get(key)) for key in keys] or [job.name or "-"]
                cells = [str(job.number), *values, *(_figures(self.costs[place]) if known else ())]
                table.add_row(*(Text(cell) for cell in cells))
            elif place == FIRST:
                table.add_row("...", Text(f"{hidden} more", overflow="ignore"))
        return table

    def _justify(self, key: str) -> Any:
        values = [job.varied.get(key) for job in self.plan.jobs]
        return "right" if all(isinstance(value, int | float) for value in values) else "left"

    def _notes(self) -> list[str]:
        notes: list[str] = []
        if self.duplicates:
            names = [f"{name} ({n} times)" if n > 1 else name for name, n in Counter(self.duplicates).items()]
            more = f", and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
            plural = "s" * (len(self.duplicates) > 1)
            notes.append(f"{len(self.duplicates)} duplicate{plural} dropped: {', '.join(names[:MOST_NAMES])}{more}")
        known = [cost for cost in self.costs if cost is not None]
        if self.plan.search is not None and known:
            notes.append(f"a trial: {_range(known)}")
        if any(cost.approximate for cost in known):
            notes.append("~ estimated from the jobs that were measured")
        if self.capacity is not None:
            notes += self._spread(self.capacity, known)
        return notes

    def _spread(self, capacity: Capacity, known: Sequence[Cost]) -> list[str]:
        """How many at once, and what that takes."""
        threads = f"{capacity.threads} thread{'s' * (capacity.threads > 1)}{' each' * (capacity.jobs > 1)}"
        notes = [f"{capacity.jobs} at once ({capacity.why}), {threads}"]
        if known:
            peaks = [cost.peak_bytes for cost in known]
            if self.plan.search is not None:  # any trial may be as large as the largest sample
                peaks = [max(peaks)] * self._count
            largest = sorted(peaks, reverse=True)[: capacity.jobs]
            notes[0] += f"; {human.size(sum(largest))} of memory, {human.size(available_memory())} are available"
            mean = sum(cost.total_seconds for cost in known) / len(known)
            own = {} if self.plan.search is not None else dict(enumerate(self.costs))
            times = [mean if (cost := own.get(i)) is None else cost.total_seconds for i in range(self._count)]
            notes.append(f"about {human.duration(makespan(times, capacity.jobs))} in all")
        return notes


def makespan(seconds: Sequence[float], at_once: int, under_way: Sequence[float] = ()) -> float:
    """Seconds until all are done, when each in turn starts as soon as a place is free.

    Args:
        seconds: of each job that waits, in order.
        at_once: places.
        under_way: what those that run have left.
    """
    places = [*under_way, *(0.0 for _ in range(at_once - len(under_way)))]
    heapq.heapify(places)
    for each in seconds:
        heapq.heapreplace(places, places[0] + each)
    return max(places)


def _figures(cost: Cost | None) -> tuple[str, str, str]:
    if cost is None:
        return "-", "-", "-"
    mark = "~" * cost.approximate
    return (
        human.count(cost.parameters),
        mark + human.size(cost.peak_bytes),
        mark + human.duration(cost.total_seconds),
    )


def _range(costs: Sequence[Cost]) -> str:
    """From the least to the most that one of them takes."""

    def span(show: Callable[[Any], str], each: Sequence[float]) -> str:
        return " to ".join(dict.fromkeys((show(min(each)), show(max(each)))))

    parameters = span(human.count, [cost.parameters for cost in costs])
    memory = span(human.size, [cost.peak_bytes for cost in costs])
    seconds = span(human.duration, [cost.total_seconds for cost in costs])
    return f"{parameters} parameters, {memory}, {seconds}"


def _setting(value: Any) -> str:
    return human.setting(value) if isinstance(value, float) else shown(value)
