"""What a page says of values that are there, missing, off, or no number."""

import math

import pytest

from vae_experiments.reproduction.measured import Measured, Results, departures
from vae_experiments.reproduction.page import beside, markdown, verdict
from vae_experiments.reproduction.published import Line, PublishedTable
from vae_experiments.runs.plan import Plan

LINE = Line(title="KL", metric="test/kl", published=[7.0, 8.0, None], spread=[0.1, 1.0, None], tolerance=0.5)
TABLE = PublishedTable(
    title="t", source="s", experiment="e", across="runs", sweep={"architecture.latent_dim": [2, 4, 8]}, lines=[LINE],
    quick=["trainer.max_epochs=1"],
)  # fmt: skip


def said(*means: float | None) -> list[str]:
    return verdict(TABLE, Results([[Measured(mean) for mean in means]], ["1", "1", "1"], []))


@pytest.mark.parametrize(
    ("means", "first"),
    [
        ((7.5, 8.0, 1.0), "2 of 2 values are within tolerance of the published ones."),
        ((7.51, 9.9, 1.0), "1 of 2 values are within tolerance of the published ones."),  # two deviations are 2.0
        ((math.nan, 10.1, 1.0), "0 of 2 values are within tolerance of the published ones."),
        ((7.0, None, None), "1 of 1 values are within tolerance of the published ones; 1 more are not measured yet."),
    ],
)
def test_a_value_is_within_tolerance_or_not_or_missing(means: tuple[float | None, ...], first: str) -> None:
    assert said(*means)[0] == first


def test_what_is_off_is_named_with_what_was_allowed() -> None:
    assert said(6.0, 8.0, 1.0)[1:] == ["KL at 2: off by -1.00, 0.50 allowed"]
    assert said(math.nan, 8.0, 1.0)[1:] == ["KL at 2: off by +nan, 0.50 allowed"]


def test_rows_are_ours_the_published_and_the_difference() -> None:
    results = Results([[Measured(6.0, 0.25), Measured(8.0), Measured(1.0)]], ["120", "115 to 140", "3"], [])
    assert beside(TABLE, results).texts() == [
        ["epochs trained", "120", "115 to 140", "3"],
        ["KL: ours", "6.00 +- 0.25", "8.00", "1.00"],
        ["published", "7.00 +- 0.10", "8.00 +- 1.00", "-"],
        ["difference", "-1.00 *", "+0.00", "-"],
    ]


def test_what_was_typed_against_the_protocol_is_told() -> None:
    words = ["experiment=e", "architecture.latent_dim=2,4,8", "sweep.jobs=2", "hydra.sweep.dir=x", "tracking.uri=y"]
    plan = Plan("p", words, ["architecture.latent_dim"], [], None, {}, {}, "continue", "")
    assert departures(TABLE, plan) == []
    plan.command.extend(["optimizer.lr=1", "+optimizer.fused=true", "~scheduler"])
    against = departures(TABLE, plan)
    assert against == ["optimizer.lr=1", "+optimizer.fused=true", "~scheduler"]
    page = markdown(
        TABLE, Results([[Measured(None)] * 3], ["-"] * 3, ["latent_dim=2"]),
        command="c", trained="t", quick=False, departures=against,
    )  # fmt: skip
    assert "**Other settings than the protocol's: `optimizer.lr=1 +optimizer.fused=true ~scheduler`.**" in page
    assert "**Not finished: latent_dim=2.**" in page
