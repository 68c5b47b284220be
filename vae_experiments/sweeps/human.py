"""Numbers as people read them: three digits or so, with a unit, never in powers of ten."""

import math
from decimal import Decimal


def count(number: int) -> str:
    """A number of parameters, say: 875, 551 k, 1.2 M, 3.4 G."""
    return _scaled(number, ("", " k", " M", " G"))


def size(nbytes: float) -> str:
    """An amount of memory, decimal: 64 MB, 0.9 GB, 12 GB."""
    if nbytes < 5e8:
        return f"{max(nbytes / 1e6, 1):.0f} MB"
    return f"{nbytes / 1e9:.1f} GB" if nbytes < 9.95e9 else f"{nbytes / 1e9:,.0f} GB"


def duration(seconds: float) -> str:
    """A time to wait: 0.4 s, 45 s, 2 min 10 s, 25 min, 3 h 05 min, 2 d 4 h."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h"


def setting(number: float) -> str:
    """A setting to six digits: 0.00001 for 1e-05."""
    return format(Decimal(f"{number:.6g}"), "f")


def figure(number: float | None) -> str:
    """A loss or a bound, in the digits that matter: -123.45, 0.1867; "-" for none."""
    if number is None:
        return "-"
    if math.isfinite(number) and abs(number) >= 1e6:  # a run that exploded
        return ("-" if number < 0 else "") + (count(int(abs(number))) if abs(number) < 1e15 else "huge")
    return f"{number:.2f}" if abs(number) >= 10 else f"{number:.4f}"


def _scaled(number: float, units: tuple[str, ...]) -> str:
    for unit in units[:-1]:
        if number < 999.5:
            return f"{number:.1f}{unit}" if unit and number < 9.95 else f"{number:.0f}{unit}"
        number /= 1000
    return f"{number:,.1f}{units[-1]}"
