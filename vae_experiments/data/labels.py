"""From a source's own class numbers to labels that keep `UNLABELLED` free."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vae_experiments.data.dataset import UNLABELLED

MISSING = -1  # a source's image without a label, until `encode_labels`


def encode_labels(
    numbers: NDArray[np.int64], names: Sequence[str] | None = None
) -> tuple[NDArray[np.int64], dict[int, str]]:
    """Labels and class names of a source's class numbers.

    A label is the source's own number, but for a class 11 and those after it, which move up by one:
    11 is taken. Their names stay the source's.

    Args:
        numbers: int64 [N], `MISSING` where there is no label.
        names: of the classes 0, 1, ...; the numbers themselves if None.
    """
    present = np.unique(numbers[numbers != MISSING]).tolist()
    shift = 1 if UNLABELLED in present else 0
    class_names = {
        number + shift * (number >= UNLABELLED): str(number) if names is None else names[number] for number in present
    }
    labels = numbers + shift * (numbers >= UNLABELLED)
    labels[numbers == MISSING] = UNLABELLED
    return labels, class_names


def seed_unlabelled(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Reads a written 11 as the seed's "unlabelled", unless a 10 or more than 11 shows it to be a class."""
    present = np.unique(numbers)
    if present.size and present[-1] == UNLABELLED and UNLABELLED - 1 not in present:
        return np.where(numbers == UNLABELLED, MISSING, numbers)
    return numbers
