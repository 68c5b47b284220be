import numpy as np

from vae_experiments.data.dataset import UNLABELLED
from vae_experiments.data.labels import MISSING, encode_labels, seed_unlabelled


def test_up_to_eleven_classes_keep_their_numbers() -> None:
    labels, names = encode_labels(np.array([3, 0, 10, MISSING]))
    assert labels.tolist() == [3, 0, 10, UNLABELLED]
    assert names == {0: "0", 3: "3", 10: "10"}


def test_a_twelfth_class_is_never_taken_for_unlabelled() -> None:
    labels, names = encode_labels(np.array([10, 11, 12, MISSING]), names=[chr(97 + n) for n in range(13)])
    assert labels.tolist() == [10, 12, 13, UNLABELLED]
    assert names == {10: "k", 12: "l", 13: "m"}


def test_a_written_eleven_is_the_seeds_unlabelled_only_beside_digits() -> None:
    assert seed_unlabelled(np.array([0, 9, 11])).tolist() == [0, 9, MISSING]
    assert seed_unlabelled(np.array([0, 10, 11])).tolist() == [0, 10, 11]
    assert seed_unlabelled(np.array([0, 11, 24])).tolist() == [0, 11, 24]
