"""`make bench`: measures everything that docs/benchmarks.md says, and writes that page.

    python benchmarks/bench.py [--rounds 3] [--threads 2] [--page FILE] [--quick] [SECTION ...]

A section is a module with measure(settings), and markdown() of what that returns. Whatever is compared is compared
within a section, in one go; with sections named, the others' parts of the page stay as they are, and so does the
GPU's on a machine without one. Another kind of machine has a page of its own. With --quick the figures are printed
only.
"""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import ablation
import decoding
import denormals
import gpu
import growth
import memory
import precision
import speedrun
import start
import sweep_jobs
import torch
import training
import upkeep
from child import HERE, Failed
from machine import commit, machine, today
from settings import Settings

ORDER = (
    *(training, speedrun, sweep_jobs, decoding, start, growth, ablation),
    *(denormals, memory, upkeep, precision, gpu),
)
SECTIONS: dict[str, ModuleType] = {module.__name__: module for module in ORDER}
PAGE = HERE.parent / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Written by `make bench`, which measures all of it anew (`make bench ARGS=start` that section alone, `ARGS="--page FILE"`
for another kind of machine); the peers live in environments of their own. Each section says what it was taken on:
figures compare within a section."""
MARK = "<!-- section: {} -->\n"  # before each section's part of the page


def main() -> None:
    """Reads the command line, measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"{', '.join(SECTIONS)}; all of them if none")
    parser.add_argument("--rounds", type=int, default=Settings.rounds, help="how often what takes seconds is measured")
    parser.add_argument("--threads", type=int, default=Settings.threads, help="of every process measured")
    parser.add_argument("--page", type=Path, default=PAGE, help="where what was measured is written")
    parser.add_argument("--quick", action="store_true", help="one round, peers on few images, for a look")
    given = parser.parse_args()
    for name in set(given.sections) - set(SECTIONS):
        parser.error(f"{name}: no such section; there are {', '.join(SECTIONS)}")
    if given.rounds < 1 or given.threads < 1:
        parser.error("--rounds and --threads: at least 1")

    settings = Settings(1, given.threads, 1000) if given.quick else Settings(given.rounds, given.threads)
    for name in given.sections or here():
        part = measured(name, settings)
        print(f"{part}\n", flush=True)
        if not given.quick:
            text = given.page.read_text(encoding="utf-8") if given.page.exists() else ""
            given.page.write_text(page(parts_of(text) | {name: part}), encoding="utf-8")


def here() -> list[str]:
    """The sections that this machine can measure."""
    return [name for name in SECTIONS if name != gpu.__name__ or torch.cuda.is_available()]


def measured(name: str, settings: Settings) -> str:
    """A section's part of the page; why not, if it cannot be measured."""
    taken_on, checked_out = machine(), commit()  # of the beginning: either may be changed meanwhile
    try:
        text = SECTIONS[name].markdown(SECTIONS[name].measure(settings))
    except Failed as failed:
        text = f"## {name}\n\nNot measured: {failed}."
    return f"{text}\n\nMeasured {today()} at commit {checked_out} on {taken_on}."


def page(parts: Mapping[str, str]) -> str:
    """The whole page, of every section's part that there is."""
    known = [MARK.format(name) + parts[name] for name in SECTIONS if name in parts]
    return "\n\n".join([HEAD, *known]) + "\n"


def parts_of(text: str) -> dict[str, str]:
    """The parts of a page that was written before, by their sections."""
    found = re.split(MARK.format("(.*)"), text)
    return {name: part.strip() for name, part in zip(found[1::2], found[2::2], strict=True)}


if __name__ == "__main__":
    main()
