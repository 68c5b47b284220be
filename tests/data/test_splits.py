import numpy as np
import pandas as pd
import pytest

from vae_experiments.data.dataset import ImageDataset
from vae_experiments.data.splits import Fractions, Holdout, Official, Parts, Split
from vae_experiments.errors import InputError


def dataset(n: int, n_test: int | None = None) -> ImageDataset:
    images = np.zeros((n, 1, 2, 2), dtype=np.uint8)
    test = None if n_test is None else np.arange(n) >= n - n_test
    return ImageDataset("digits", images, np.zeros(n, dtype=np.int64), {0: "0"}, test, source="here")


def rows(parts: Parts) -> list[int]:
    return sorted(np.concatenate([parts.train, parts.val, parts.test]).tolist())


@pytest.mark.parametrize(("n", "size", "seed"), [(70_000, 5000, 99), (70_000, 100, 0), (10, 9, 99)])
def test_the_holdout_is_what_pandas_sample_picks_in_its_order(n: int, size: int, seed: int) -> None:
    frame = pd.DataFrame({"row": range(n)})
    sample = frame.sample(n=size, random_state=seed)
    rest = frame.loc[~frame.index.isin(sample.index)]

    parts = Holdout(size=size, seed=seed).parts(dataset(n))

    assert parts.val.tolist() == sample["row"].tolist()
    assert parts.train.tolist() == rest["row"].tolist()
    assert parts.test.size == 0


@pytest.mark.parametrize(
    "split", [Official(validation=20), Holdout(size=20), Fractions(), Fractions(train=0.7, val=0.3, test=0.0)]
)
def test_every_image_is_in_one_part_only_and_the_draw_repeats(split: Split) -> None:
    parts = split.parts(dataset(100, n_test=30))
    again = split.parts(dataset(100, n_test=30))

    assert rows(parts) == list(range(100))
    assert {part.dtype for part in (parts.train, parts.val, parts.test)} == {np.dtype(np.int64)}
    assert (parts.val == again.val).all()


def test_the_official_test_part_is_the_sources_own_and_the_validation_part_is_drawn_by_the_splits_seed() -> None:
    parts = Official(validation=10, seed=0).parts(dataset(100, n_test=30))
    other = Official(validation=10, seed=1).parts(dataset(100, n_test=30))

    assert parts.test.tolist() == list(range(70, 100))
    assert len(parts.val) == 10
    assert parts.val.max() < 70
    assert parts.val.tolist() != other.val.tolist()
    assert other.test.tolist() == parts.test.tolist()


def test_the_official_split_of_a_source_without_a_test_part_names_another() -> None:
    with pytest.raises(InputError, match=r"digits has no test part.*dataset/split=fractions"):
        Official().parts(dataset(100))


def test_fractions_have_the_sizes_asked_for() -> None:
    parts = Fractions(train=0.5, val=0.3, test=0.2).parts(dataset(10))
    assert (len(parts.train), len(parts.val), len(parts.test)) == (5, 3, 2)


def test_fractions_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(InputError, match=r"= 0\.9: the fractions must add up to 1"):
        Fractions(train=0.5, val=0.3, test=0.1)


@pytest.mark.parametrize("n", [1, 4000, 5000])
def test_fewer_images_than_the_holdout_needs_is_the_users_mistake(n: int) -> None:
    with pytest.raises(InputError, match=rf"{n} images?, too few to hold out 5000.*dataset\.split\.size"):
        Holdout().parts(dataset(n))
    with pytest.raises(InputError, match=rf"{n} images? outside its test part.*dataset\.split\.validation"):
        Official().parts(dataset(n + 10, n_test=10))


@pytest.mark.parametrize(("n", "part"), [(1, "val"), (3, "val"), (4, "val")])
def test_fractions_of_too_few_images_are_the_users_mistake(n: int, part: str) -> None:
    with pytest.raises(InputError, match=rf"{n} images?: dataset\.split\.{part}=0\.1 of them is none"):
        Fractions().parts(dataset(n))
