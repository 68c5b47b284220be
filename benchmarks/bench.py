"""`make bench`: measures everything that docs/benchmarks.md says, and writes that page.

    python benchmarks/bench.py [--rounds 3] [--threads 2] [--quick] [SECTION ...]

A section is a module with measure(settings), and markdown() of what that returns. With sections named, or --quick,
the figures are printed only: the page holds those of one whole run.
"""

import argparse
from types import ModuleType

import training
from child import HERE
from machine import machine
from settings import Settings

SECTIONS: dict[str, ModuleType] = {module.__name__: module for module in (training,)}
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
    parts = [HEAD, "## The machine", machine()]
    for name in given.sections or SECTIONS:
        section = SECTIONS[name]
        parts.append(section.markdown(section.measure(settings)))
    page = "\n\n".join(parts) + "\n"
    print(page)
    if not given.quick and not given.sections:
        PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
