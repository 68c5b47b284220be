"""Spaces: Hydra's sweep syntax, and what is no space."""

import json
from typing import Any

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from vae_experiments.errors import InputError
from vae_experiments.sweeps.space import (
    Choice,
    Dimension,
    Numbers,
    parse_space,
    space_from_plain,
    space_to_plain,
)


def parse(*words: str) -> dict[str, Dimension]:
    overrides = OverridesParser.create().parse_overrides(list(words))
    return parse_space({override.key_or_group: override for override in overrides})


def draws(dimension: Dimension) -> list[Any]:
    """What 200 trials draw at random."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [dimension.suggest(study.ask(), "a") for _ in range(200)]


@pytest.mark.parametrize(
    ("word", "dimension"),
    [
        ("a=interval(1e-4,1e-2)", Numbers(1e-4, 1e-2)),
        ("a=interval(1,10)", Numbers(1.0, 10.0)),
        ("a=tag(log,interval(1e-4,1e-2))", Numbers(1e-4, 1e-2, log=True)),
        ("a=int(interval(1,10))", Numbers(1, 10)),
        ("a=tag(log,int(interval(1,10)))", Numbers(1, 10, log=True)),
        ("a=range(2,33)", Numbers(2, 32, step=1)),
        ("a=range(2,33,2)", Numbers(2, 32, step=2)),
        ("a=range(2,32,2)", Numbers(2, 30, step=2)),
        ("a=range(5,0,-2)", Numbers(1, 5, step=2)),
        ("a=tag(log,range(2,33))", Numbers(2, 32, step=1, log=True)),
        ("a=range(0,1,0.1)", Numbers(0.0, 0.9, step=0.1)),
        ("a=choice(1,b,2.5)", Choice([1, "b", 2.5])),
        ("architecture=conv,mlp", Choice(["conv", "mlp"])),
        ("a=[16,32],[8]", Choice([[16, 32], [8]])),
        ("a=[x,'y z'],[]", Choice([["x", "y z"], []])),
        ("a='x, y',z", Choice(["x, y", "z"])),
        ("a=null,true,2", Choice([None, True, 2])),
    ],
)
def test_hydras_words_become_dimensions_and_pass_through_json(word: str, dimension: Dimension) -> None:
    space = parse(word)
    (found,) = space.values()
    assert found == dimension
    if isinstance(found, Numbers) and isinstance(dimension, Numbers):
        assert type(found.low) is type(found.high) is type(dimension.low)
    again = space_from_plain(json.loads(json.dumps(space_to_plain(space))))
    assert again == space
    assert [type(d.low) for d in again.values() if isinstance(d, Numbers)] == [
        type(d.low) for d in space.values() if isinstance(d, Numbers)
    ]


@pytest.mark.parametrize("word", ["a=range(3,20,4)", "a=range(20,3,-4)", "a=range(0,1,0.25)"])
def test_a_search_of_a_range_meets_what_a_sweep_of_it_would(word: str) -> None:
    (override,) = OverridesParser.create().parse_overrides([word])
    (dimension,) = parse(word).values()
    drawn = {float(dimension.value(each)) for each in draws(dimension)}
    swept = sorted(float(text) for text in override.sweep_string_iterator())
    assert sorted(drawn) == pytest.approx(swept, abs=1e-12)


def test_choices_come_back_as_they_were_given_not_as_optuna_stores_them() -> None:
    dimension = Choice([1, 1.0, True, "x", [16, 32], None, {"a": 1}])
    drawn = {json.dumps(dimension.value(each)) for each in draws(dimension)}
    assert drawn == {json.dumps(value) for value in dimension.values}


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("a=interval(5,1)", "the lower end comes first"),
        ("a=interval(1,1)", "below the upper one"),
        ("a=interval(0,inf)", "must be finite"),
        ("a=range(0,nan)", "must be finite"),
        ("a=range(33,2)", "holds no number"),
        ("a=range(1,5,0)", "must not be 0"),
        ("a=tag(log,interval(0,1))", "above 0"),
        ("a=tag(log,range(0,9))", "above 0"),
        ("a=tag(log,range(2,33,2))", "use tag(log,range(2,33))"),
        ("a=tag(log,range(1.0,9.0))", "use tag(log,interval(1.0,8.0))"),
        ("a=tag(lgo,interval(1,2))", "did you mean 'log'?"),
        ("a=tag(log,choice(1,2))", "choices have no scale"),
        ("a=x,y,x", "holds x twice"),
    ],
)
def test_what_is_no_space_is_refused_in_one_line(word: str, says: str) -> None:
    with pytest.raises(InputError) as refused:
        parse(word)
    assert str(refused.value).startswith(f"{word}: ")
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_nothing_to_vary_is_said_with_an_example() -> None:
    with pytest.raises(InputError, match=r"nothing to search: .*tag\(log,interval"):
        parse()
