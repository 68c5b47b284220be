import math

import pytest

from vae_experiments.comparison.rows import Compared, higher_is_better, ranked, repeats

HISTORY = [
    {"val/elbo": -120.0, "val/kl": 5.0, "val/loss": 1.0, "time/epoch_seconds": 2.0},
    {"val/elbo": -100.0, "val/kl": 7.0, "time/epoch_seconds": 3.0, "best/epoch": 2.0, "best/val_elbo": -100.0},
    {"val/elbo": -110.0, "val/kl": 9.0, "time/epoch_seconds": 4.0, "best/epoch": 2.0, "best/val_elbo": -100.0},
]


def run(name: str, elbo: float | None, **params: object) -> Compared:
    return Compared(None, name, "FINISHED", params, metrics={} if elbo is None else {"best/val_elbo": elbo})


def test_a_value_is_that_of_the_best_epoch_and_not_of_the_last() -> None:
    row = Compared(None, "a", "FINISHED", {}, metrics={**HISTORY[-1], "test/nll": 99.0}, history=HISTORY)
    assert row.value("val/elbo") == -100.0
    assert row.value("val/kl") == 7.0
    assert row.value("test/nll") == 99.0
    assert row.value("val/loss") is None  # not measured at the best epoch
    assert row.best_epoch == 2
    assert row.seconds == 9.0


def test_without_its_history_a_run_says_no_epochs_value_that_may_not_be_the_bests() -> None:
    row = Compared(None, "a", "FINISHED", {}, metrics=HISTORY[-1])
    assert row.value("val/elbo") == -100.0
    assert row.value("val/kl") is None
    assert row.seconds is None


@pytest.mark.parametrize(("metric", "order"), [("val/elbo", "cabnm"), ("val/kl", "bacnm")])
def test_the_best_comes_first_then_what_is_not_finite_then_what_is_missing(metric: str, order: str) -> None:
    values = {"m": None, "n": math.nan, "a": -5.0, "b": -7.0, "c": -1.0}
    name = f"best/{metric.replace('/', '_')}"
    rows = [Compared(None, k, "", {}, metrics={} if v is None else {name: v}) for k, v in values.items()]
    assert "".join(row.name for row in ranked(rows, metric)) == order


def test_runs_that_differ_by_their_seed_alone_are_repeats() -> None:
    rows = [run("a", 1, d=2, seed=0), run("b", 2, d=4, seed=0), run("c", 3, d=2, seed=1), run("d", 4, d=2.5, seed=0)]
    groups = repeats(rows, ["d", "seed"])
    assert [[row.name for row in group] for group in groups] == [["a", "c"], ["b"], ["d"]]


def test_what_is_better_high_ranks_high() -> None:
    better_high = ["val/elbo", "val/iw_bound", "best/val_elbo", "test/ssim", "test/knn_accuracy_100", "test/coverage"]
    better_low = [
        "val/loss",
        "val/kl",
        "test/nll_iw500",
        "test/bits_per_dim",
        "test/frechet",
        "test/knn_accuracy_100_std",
    ]
    assert [higher_is_better(metric) for metric in better_high + better_low] == [True] * 6 + [False] * 6
