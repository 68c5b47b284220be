import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from vae_experiments.errors import InputError
from vae_experiments.runs.plan import job_name, short_names
from vae_experiments.sweeps.overrides import combinations, values


def parsed(word: str) -> list[object]:
    return values(OverridesParser.create().parse_override(word))


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("architecture.latent_dim=2,4,8", [2, 4, 8]),
        ("objective.kl_weight=0.5,1,1e-3", [0.5, 1, 1e-3]),
        ("seed=range(3)", [0, 1, 2]),
        ("seed=range(1,8,3)", [1, 4, 7]),
        ("architecture.filters=[8,16],[16,32]", [[8, 16], [16, 32]]),
        ("architecture=conv,mlp", ["conv", "mlp"]),
        ("trainer.clip_grad_norm=null,10", [None, 10]),
        ("name='a b','c,d'", ["a b", "c,d"]),
    ],
)
def test_values_have_the_types_that_hydra_gives_them(word: str, expected: list[object]) -> None:
    assert parsed(word) == expected


def test_a_range_without_steps_is_for_a_search() -> None:
    with pytest.raises(InputError, match="hydra/sweeper=optuna"):
        parsed("optimizer.lr=interval(1e-4,1e-2)")


def test_every_combination_comes_once_and_the_last_key_varies_fastest() -> None:
    assert combinations({"a": [1, 2], "b": ["x", "y"]}, []) == [
        {"a": 1, "b": "x"},
        {"a": 1, "b": "y"},
        {"a": 2, "b": "x"},
        {"a": 2, "b": "y"},
    ]
    assert combinations({}, []) == [{}]


def test_zipped_keys_are_paired_and_crossed_with_the_rest() -> None:
    paired = combinations({"a": [1, 2], "seed": [0, 1], "b": [10, 20]}, ["a", "b"])
    assert [tuple(each.values()) for each in paired] == [(1, 0, 10), (1, 1, 10), (2, 0, 20), (2, 1, 20)]
    assert [list(each) for each in paired] == [["a", "seed", "b"]] * 4


@pytest.mark.parametrize(
    ("zipped", "message"),
    [(["a", "b"], "a has 2, b has 3"), (["c"], "c is not swept")],
)
def test_what_cannot_be_zipped_is_refused(zipped: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        combinations({"a": [1, 2], "b": [1, 2, 3]}, zipped)


def test_a_job_is_named_by_what_varied_in_the_shortest_words_that_are_clear() -> None:
    assert job_name({"architecture.latent_dim": 8, "objective.kl_weight": 0.5}) == "latent_dim=8 kl_weight=0.5"
    assert job_name({"architecture.filters": [16, 32], "architecture": "conv"}) == "filters=[16,32] architecture=conv"
    assert short_names(["optimizer.lr", "x.lr"]) == {"optimizer.lr": "optimizer.lr", "x.lr": "x.lr"}
    assert short_names(["seed", "dataset.split.seed"]) == {"seed": "seed", "dataset.split.seed": "split.seed"}
