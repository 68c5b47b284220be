"""What the guide shows works as it is shown."""

import re
import shlex
from pathlib import Path

from support import BARE, only_folder, results, run_process

GUIDE = Path(__file__).parents[2] / "docs" / "guide.md"


def test_a_class_of_ones_own() -> None:
    section = GUIDE.read_text().partition("## A class of your own")[2].partition("\n## ")[0]
    module, config, command = re.findall(r"```(?:python|yaml)?\n(.*?)```", section, re.DOTALL)[:3]
    for text in (module, config):
        name = text.splitlines()[0].removeprefix("# ")
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    _, *words = shlex.split(command)
    ended = run_process(*words, *BARE)
    assert ended.status == 0, ended.err
    row = results(only_folder())[-1]
    assert row["val/loss"] > row["val/reconstruction"] + (row["val/kl"] - 4) ** 2  # the mean of squares is more
