"""The classes of one's own that docs/extending.md shows work as they are shown."""

import re
import shlex
from pathlib import Path

import pytest
from support import BARE, TINY, only_folder, results, run_process

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"


def example(title: str) -> list[str]:
    """Writes a section's files into the working directory; the words of its command."""
    section = PAGE.read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    module, config, command = re.findall(r"```(?:python|yaml)?\n(.*?)```", section, re.DOTALL)[:3]
    for text in (module, config):
        path = Path(text.splitlines()[0].removeprefix("# "))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return shlex.split(command)[1:]


def trained(*words: str) -> dict[str, float]:
    ended = run_process(*words, "tracking=off", "hooks.gallery=null")
    assert ended.status == 0, ended.err
    return results(only_folder())[-1]


def test_an_architecture_of_ones_own() -> None:
    words = example("An architecture")
    tiny = [word for word in TINY if not word.startswith("architecture.filters")]  # which it does not have
    assert trained(*words, *tiny)["val/elbo"] < 0
    refused = run_process(*words, *tiny, "architecture.width=0", "tracking=off")
    assert refused.status == 2
    assert "architecture.width=0: should be greater than or equal to 1" in refused.err


def test_a_prior_of_ones_own() -> None:
    assert trained(*example("A prior"), *BARE)["val/kl"] != 0
    drawn = run_process("generate", str(only_folder()), "what=samples", "tracking=off", "trust=[my_priors]")
    assert drawn.status == 0, drawn.err
    refused = run_process("generate", str(only_folder()), "what=samples", "tracking=off")
    assert refused.status == 2
    assert "trust=[my_priors]" in refused.err


def test_the_prior_is_a_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    import torch

    example("A prior")
    monkeypatch.syspath_prepend(str(Path.cwd()))
    density = importlib.import_module("my_priors").Laplace(latent_dim=1, scale=0.5)
    grid = torch.linspace(-20, 20, 400_001, dtype=torch.float64)[:, None]
    assert torch.trapezoid(density.log_prob(grid).exp(), grid[:, 0]).item() == pytest.approx(1, abs=1e-6)
    drawn = density.sample(200_000, torch.Generator().manual_seed(0))
    assert drawn.abs().mean().item() == pytest.approx(0.5, abs=4 * 0.5 / 200_000**0.5)  # |z| is exponential


def test_an_objective_of_ones_own() -> None:
    row = trained(*example("An objective"), *BARE)
    assert row["val/loss"] > row["val/reconstruction"] + (row["val/kl"] - 4) ** 2  # the mean of squares is more
