"""`make bench`: measures everything that docs/benchmarks.md says, and writes that page.

    python benchmarks/bench.py [--rounds 3] [--threads 2] [--quick] [SECTION ...]

A section is a module with measure(settings), and markdown() of what that returns. With sections named, or --quick,
the figures are printed only: the page holds those of one whole run.
"""

import argparse
from collections.abc import Iterable, Iterator
from types import ModuleType

import ablation
import decoding
import growth
import memory
import precision
import speedrun
import start
import sweep_jobs
import training
import upkeep
from child import HERE, Failed
from machine import machine
from settings import Settings

ORDER = (training, speedrun, sweep_jobs, decoding, start, growth, ablation, memory, upkeep, precision)
SECTIONS: dict[str, ModuleType] = {module.__name__: module for module in ORDER}
PAGE = HERE.parent / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Written by `make bench`, which measures all of it anew, in one go; the peers live in environments of their own."""


def main() -> None:
    """Reads the command line, measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"{', '.join(SECTIONS)}; all of them if none")
    parser.add_argument("--rounds", type=int, default=Settings.rounds, help="how often everything is measured")
    parser.add_argument("--threads", type=int, default=Settings.threads, help="of every process measured")
    parser.add_argument("--quick", action="store_true", help="one round with few images, for a look")
    given = parser.parse_args()
    for name in set(given.sections) - set(SECTIONS):
        parser.error(f"{name}: no such section; there are {', '.join(SECTIONS)}")
    if given.rounds < 1 or given.threads < 1:
        parser.error("--rounds and --threads: at least 1")

    settings = Settings(1, given.threads, 1000) if given.quick else Settings(given.rounds, given.threads)
    parts = []
    for part in sections(given.sections or list(SECTIONS), settings):
        print(f"{part}\n", flush=True)
        parts.append(part)
    if not given.quick and not given.sections:
        PAGE.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def sections(names: Iterable[str], settings: Settings) -> Iterator[str]:
    """The page's parts, one by one; a section that cannot be measured says why, and the others go on."""
    yield HEAD
    yield "## The machine"
    yield machine()
    for name in names:
        try:
            yield SECTIONS[name].markdown(SECTIONS[name].measure(settings))
        except Failed as failed:
            yield f"## {name}\n\nNot measured: {failed}."


if __name__ == "__main__":
    main()
