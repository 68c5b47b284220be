"""Which images train, which choose the best epoch, and which are only looked at in the end."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray

from vae_experiments.data.dataset import ImageDataset
from vae_experiments.errors import InputError

Positive = Annotated[int, Ge(1)]
Seed = Annotated[int, Ge(0), Le(2**32 - 1)]  # what numpy's generators take


@dataclass(frozen=True)
class Parts:
    """Rows of a dataset, int64 each, without overlap. `test` may be empty; the others never are."""

    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]


class Split(ABC):
    """A rule that divides any dataset into parts; the same dataset always divides the same way."""

    @abstractmethod
    def parts(self, dataset: ImageDataset) -> Parts:
        """Raises InputError where the dataset is too small for the rule or lacks what it needs."""


@dataclass(frozen=True, kw_only=True)
class Official(Split):
    """The source's own test part; the validation part is drawn at random from the rest.

    Args:
        validation: images in the validation part.
        seed: of that draw alone, so that runs with other seeds validate on the same images.
    """

    validation: Positive = 5000
    seed: Seed = 0

    def parts(self, dataset: ImageDataset) -> Parts:
        if dataset.test is None:
            raise InputError(
                f"dataset {dataset.name} has no test part of its own ({dataset.source}): "
                "choose dataset/split=fractions or dataset/split=holdout"
            )
        rest = np.flatnonzero(~dataset.test)
        _check_size(dataset, len(rest), self.validation, "dataset.split.validation", " outside its test part")
        shuffled = np.random.default_rng(self.seed).permutation(rest)
        return Parts(
            train=np.sort(shuffled[self.validation :]),
            val=np.sort(shuffled[: self.validation]),
            test=np.flatnonzero(dataset.test),
        )


@dataclass(frozen=True, kw_only=True)
class Holdout(Split):
    """Images held out at random to validate on, as the seed does; no test part.

    The same rows in the same order as pandas' `sample(n=size, random_state=seed)`, from every image
    of the source, its test part included.

    Args:
        size: images held out.
        seed: pandas' random_state.
    """

    size: Positive = 5000
    seed: Seed = 99

    def parts(self, dataset: ImageDataset) -> Parts:
        _check_size(dataset, len(dataset), self.size, "dataset.split.size")
        # What pandas draws from; a numpy Generator would pick other rows.
        generator = np.random.RandomState(self.seed)
        val = generator.choice(len(dataset), size=self.size, replace=False).astype(np.int64)
        held_out = np.zeros(len(dataset), dtype=np.bool_)
        held_out[val] = True
        return Parts(train=np.flatnonzero(~held_out), val=val, test=np.empty(0, dtype=np.int64))


@dataclass(frozen=True, kw_only=True)
class Fractions(Split):
    """Random parts of given shares, from every image of the source, its own test part included.

    Args:
        train, val, test: shares of the images, adding up to 1; `test` may be 0.
        seed: of the draw.
    """

    train: Annotated[float, Gt(0), Le(1)] = 0.8
    val: Annotated[float, Gt(0), Le(1)] = 0.1
    test: Annotated[float, Ge(0), Le(1)] = 0.1
    seed: Seed = 0

    def __post_init__(self) -> None:
        total = self.train + self.val + self.test
        if abs(total - 1) > 1e-6:
            raise InputError(f"dataset.split: train + val + test = {total:g}: the fractions must add up to 1")

    def parts(self, dataset: ImageDataset) -> Parts:
        n = len(dataset)
        n_val, n_test = round(self.val * n), round(self.test * n)
        n_train = n - n_val - n_test
        counts = {"train": (n_train, self.train), "val": (n_val, self.val), "test": (n_test, self.test)}
        for part, (count, share) in counts.items():
            if count < 1 and share > 0:
                raise InputError(
                    f"dataset {dataset.name} has {_images(n)}: dataset.split.{part}={share:g} of them is none"
                )
        shuffled = np.random.default_rng(self.seed).permutation(n).astype(np.int64)
        val, test, train = np.split(shuffled, [n_val, n_val + n_test])
        return Parts(train=np.sort(train), val=np.sort(val), test=np.sort(test))


def _check_size(dataset: ImageDataset, n: int, held_out: int, key: str, where: str = "") -> None:
    if n <= held_out:
        raise InputError(
            f"dataset {dataset.name} has {_images(n)}{where}, too few to hold out {held_out} "
            f"and train on the rest: set {key} lower"
        )


def _images(n: int) -> str:
    return f"{n} image" if n == 1 else f"{n} images"
