"""What a search varies: Hydra's own sweep syntax, read into plain data that can be stored with the plan."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from vae_experiments.config.suggest import did_you_mean
from vae_experiments.errors import InputError

if TYPE_CHECKING:
    import optuna
    from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

EXAMPLE = "such as 'optimizer.lr=tag(log,interval(1e-4,1e-2))'"


@dataclass(frozen=True)
class Numbers:
    """Every number from `low` to `high`, both included.

    Args:
        low: an int for a space of ints.
        high: of the same type.
        step: between neighbours, from `low` on; None for a space of floats without gaps.
        log: whether to draw evenly from the logarithms.
    """

    low: float
    high: float
    step: float | None = None
    log: bool = False

    def suggest(self, trial: "optuna.Trial", name: str) -> int | float:
        """What the trial has for it; drawn now, unless it was before."""
        if isinstance(self.low, int):
            return trial.suggest_int(name, self.low, int(self.high), step=int(self.step or 1), log=self.log)
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)

    def value(self, drawn: float) -> int | float:
        """What a run is given."""
        return drawn


@dataclass(frozen=True)
class Choice:
    """One of several values, in no order: scalars, lists, names of a group's choices."""

    values: Sequence[Any]

    @property
    def labels(self) -> list[str]:
        """The values as Optuna is told them; it stores no lists, and takes 1, 1.0 and true for one."""
        return [value if isinstance(value, str) else json.dumps(value) for value in self.values]

    def suggest(self, trial: "optuna.Trial", name: str) -> str:
        """What the trial has for it; drawn now, unless it was before."""
        return trial.suggest_categorical(name, self.labels)

    def value(self, drawn: str) -> Any:
        """What a run is given."""
        return self.values[self.labels.index(drawn)]


Dimension = Numbers | Choice
Space = dict[str, Dimension]  # by key or group: optimizer.lr, architecture


def space_to_plain(space: Space) -> dict[str, Any]:
    """As containers that JSON takes."""
    return {name: asdict(dimension) for name, dimension in space.items()}


def space_from_plain(plain: Mapping[str, Any]) -> Space:
    """What `space_to_plain` made of it. Raises TypeError on anything else."""
    return {name: Choice(**fields) if "values" in fields else Numbers(**fields) for name, fields in plain.items()}


def parse_space(swept: "Mapping[str, Override]") -> Space:
    """The space that was typed, by key or group.

    Raises:
        InputError: a space that holds nothing or cannot be, or nothing to vary at all.
    """
    if not swept:
        raise InputError(f"nothing to search: give at least one key a space, {EXAMPLE}")
    return {name: _dimension(override) for name, override in swept.items()}


def _dimension(override: "Override") -> Dimension:
    from hydra.core.override_parser.types import IntervalSweep, RangeSweep

    word, sweep = override.input_line or override.key_or_group, override.value()
    tags: set[str] = getattr(sweep, "tags", set())  # a glob has none
    if unknown := sorted(tags - {"log"}):
        raise InputError(f"{word}: no such tag as {unknown[0]!r}; {did_you_mean(unknown[0], ['log'])}")
    if isinstance(sweep, IntervalSweep):
        return _interval(word, sweep)
    if isinstance(sweep, RangeSweep):
        return _range(word, sweep)
    return _choice(word, [_plain(value) for value in override.sweep_iterator()], tags)


def _interval(word: str, sweep: "IntervalSweep") -> Numbers:
    assert sweep.start is not None
    assert sweep.end is not None
    return _numbers(word, Numbers(sweep.start, sweep.end, log="log" in sweep.tags))


def _range(word: str, sweep: "RangeSweep") -> Numbers:
    """The numbers that Hydra's own sweep would run through: the end that is typed is not among them."""
    assert sweep.start is not None
    assert sweep.stop is not None
    if sweep.step == 0:
        raise InputError(f"{word}: the step must not be 0")
    # In decimal, as typed: 0.1 has no exact double, and ten of them would miss the end, or not.
    start, stop, step = (Decimal(str(number)) for number in (sweep.start, sweep.stop, sweep.step))
    if not all(number.is_finite() for number in (start, stop, step)):
        raise InputError(f"{word}: its ends must be finite")
    count = math.ceil((stop - start) / step)
    if count < 1:
        raise InputError(f"{word}: holds no number; the start comes first, and the stop is not part of it")
    low, high = sorted((start, start + (count - 1) * step))
    log = "log" in sweep.tags
    if log and abs(step) != 1:
        raise InputError(f"{word}: on a log scale there is no step; use tag(log,range({sweep.start},{sweep.stop}))")
    kind = int if all(isinstance(n, int) for n in (sweep.start, sweep.stop, sweep.step)) else float
    return _numbers(word, Numbers(kind(low), kind(high), step=kind(abs(step)), log=log))


def _numbers(word: str, numbers: Numbers) -> Numbers:
    low, high = numbers.low, numbers.high
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError(f"{word}: its ends must be finite")
    if low > high or (low == high and numbers.step is None):
        raise InputError(f"{word}: the lower end comes first, and must be below the upper one")
    if numbers.log and low <= 0:
        raise InputError(f"{word}: a log scale needs numbers above 0; raise its lower end")
    if numbers.log and not isinstance(low, int) and numbers.step is not None:
        raise InputError(f"{word}: on a log scale there is no step; use tag(log,interval({low},{high}))")
    return numbers


def _choice(word: str, values: list[Any], tags: set[str]) -> Choice:
    if tags:
        raise InputError(f"{word}: choices have no scale; leave out the tag, or use interval or range")
    if not values:
        raise InputError(f"{word}: holds no choice")
    choice = Choice(values)
    twice = [label for label in choice.labels if choice.labels.count(label) > 1]
    if twice:
        raise InputError(f"{word}: holds {twice[0]} twice; give each choice once")
    return choice


def _plain(value: Any) -> Any:
    """A parsed element without Hydra's marks of what was quoted."""
    from hydra.core.override_parser.types import QuotedString

    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    return value
