"""Which settings tell the runs of a set apart."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache

from vae_experiments.comparison.rows import Compared
from vae_experiments.tracking.names import flatten

# Names, records and pictures. `seed` makes repeats.
_IGNORED = ("name", "tracking", "figures", "evaluation", "seed")
_TARGET = "._target_"
_encode = json.JSONEncoder(default=str).encode  # json.dumps would make an encoder for every value


def settings(config: Mapping[str, object]) -> dict[str, object]:
    """A composed config as dotted keys; a part that names a class also stands under its own key.

    `objective.kl_weight` is then a number in one run and the name of its schedule in another.
    """
    flat = dict(flatten(config))
    classes = {
        key.removesuffix(_TARGET): str(value).rpartition(".")[2] for key, value in flat.items() if key.endswith(_TARGET)
    }
    plain = {key: value for key, value in flat.items() if not key.endswith("_target_") and _counts(key, flat)}
    return {key: value for key, value in classes.items() if _counts(key, flat)} | plain


def stored_settings(params: Mapping[str, str]) -> dict[str, object]:
    """The same of parameters as MLflow keeps them, each as text."""
    return settings({key: _value(text) for key, text in params.items()})


@lru_cache(maxsize=4096)  # most values are those of other runs too
def _value(text: str) -> object:
    try:
        value: object = json.loads(text)
    except ValueError:
        return text
    return value


def _counts(key: str, flat: Mapping[str, object]) -> bool:
    section, _, rest = key.partition(".")
    if section == "hooks":  # of this package's, only early stopping changes a result
        target = str(flat.get(f"hooks.{rest.partition('.')[0]}{_TARGET}", ""))
        return target.endswith(".EarlyStopping") or (bool(target) and not target.startswith("vae_experiments."))
    return section not in _IGNORED


def varied_keys(rows: Sequence[Compared]) -> list[str]:
    """The settings in which the rows differ, the same order whatever the rows' order.

    A key that only some runs have, such as those of one architecture among several, counts when it
    tells runs apart that the keys before it do not.
    """
    names = sorted({key for row in rows for key in row.params})
    texts = {key: [_encode(row.params[key]) if key in row.params else "" for row in rows] for key in names}
    varied = [key for key in names if len(set(texts[key])) > 1]
    everywhere = [key for key in varied if "" not in texts[key]]
    kept: list[str] = []
    groups, told_apart = [0] * len(rows), 1  # each row's number among the settings that the kept keys tell apart
    for key in [*everywhere, *(key for key in varied if "" in texts[key])]:
        numbers: dict[tuple[int, str], int] = {}
        finer = [numbers.setdefault(each, len(numbers)) for each in zip(groups, texts[key], strict=True)]
        if "" not in texts[key] or len(numbers) > told_apart:
            kept.append(key)
            groups, told_apart = finer, len(numbers)
    return sorted(kept)
