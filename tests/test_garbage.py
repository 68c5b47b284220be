"""Promises of garbage.py, each in a process of its own: the collector is the whole process's."""

import subprocess
import sys


def told(code: str) -> str:
    """What a new interpreter prints."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_a_command_looks_for_garbage_seldom_until_it_trains() -> None:
    said = told(
        "import gc; usual = gc.get_threshold()\n"
        "from vae_experiments import garbage\n"
        "garbage.seldom(); print(gc.get_threshold(), end=' ')\n"
        "garbage.as_usual(); print(gc.get_threshold() == usual, gc.get_freeze_count() > 0)"
    )
    assert said == "(50000, 1000, 1000) True True"


def test_thresholds_that_someone_else_set_are_left_alone() -> None:
    said = told(
        "import gc; from vae_experiments import garbage\n"
        "gc.set_threshold(9); garbage.as_usual(); print(gc.get_threshold()[0], gc.get_freeze_count())"
    )
    assert said == "9 0"


def test_what_is_here_at_the_end_is_not_visited_again() -> None:
    said = told(
        "import atexit, gc\n"
        "atexit.register(lambda: print(gc.get_freeze_count() > 0))\n"  # called after those registered later
        "from vae_experiments import garbage; garbage.seldom(); print(gc.get_freeze_count())"
    )
    assert said == "0\nTrue"


def test_nothing_is_collected_while_all_is_kept() -> None:
    said = told(
        "import gc; from vae_experiments import garbage\n"
        "with garbage.never(): print(gc.isenabled(), end=' ')\n"
        "print(gc.isenabled(), end=' '); gc.disable()\n"
        "with garbage.never(): pass\n"
        "print(gc.isenabled())"
    )
    assert said == "False True False"
