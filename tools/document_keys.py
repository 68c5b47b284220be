"""Writes docs/keys.md: every config key, from the classes that take it and the YAML files that set it.

`make docs` runs it; `--check` only says whether the page is what it would write.
"""

import argparse
import sys
from pathlib import Path

from keys_page.page import page

PAGE = Path(__file__).parents[1] / "docs" / "keys.md"


def main() -> int:
    """Writes the page, or with --check compares; the exit status is 1 where it is stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether docs/keys.md is up to date")
    arguments = parser.parse_args()
    text = page()
    if not arguments.check:
        PAGE.write_text(text)
        return 0
    fresh = PAGE.exists() and PAGE.read_text() == text
    print(f"{PAGE.name} is {'up to date' if fresh else 'stale: make docs'}")
    return 0 if fresh else 1


if __name__ == "__main__":
    sys.exit(main())
