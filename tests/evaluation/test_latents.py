"""What codes say about labels."""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from vae_experiments.evaluation.latents import Spread, clusters, knn_accuracy, linear_probe

Codes = NDArray[np.floating[Any]]
Labels = NDArray[np.int64]


@pytest.fixture(autouse=True)
def _nothing_warns() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def blobs(n: int, classes: int = 3, apart: float = 100.0, dims: int = 4, seed: int = 0) -> tuple[Codes, Labels]:
    """n codes around a centre for each class, the centres `apart` standard deviations from one another."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes).astype(np.int64)
    centres = np.eye(classes, dims) * apart / np.sqrt(2)
    return (centres[labels] + rng.standard_normal((n, dims))).astype(np.float32), labels + 5


def knn(train: tuple[Codes, Labels], test: tuple[Codes, Labels], labelled: list[int], **more: Any) -> dict[int, Spread]:
    return knn_accuracy(*train, *test, labelled=labelled, **({"draws": 3, "neighbours": 5} | more))


def test_classes_far_apart_are_told_apart_by_few_labels() -> None:
    train, test = blobs(200), blobs(60, seed=1)
    assert knn(train, test, [15, 60]) == {15: Spread(1, 0), 60: Spread(1, 0)}
    assert linear_probe(*train, *test) == 1


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_with_every_label_known_it_is_the_vote_of_the_nearest(metric: Any, dtype: type) -> None:
    (codes, labels), (test_codes, test_labels) = blobs(90, apart=1.5), blobs(50, apart=1.5, seed=1)
    nearest = cdist(test_codes, codes, metric).argsort(axis=1)[:, :5]
    votes = np.stack([(labels[nearest] == label).sum(axis=1) for label in (5, 6, 7)])
    expected = np.mean(votes.argmax(axis=0) + 5 == test_labels)  # of equal votes the lower label
    found = knn((codes.astype(dtype), labels), (test_codes.astype(dtype), test_labels), [90], metric=metric, draws=2)
    assert 0.5 < expected < 0.9
    assert found == {90: Spread(pytest.approx(expected), 0)}


def test_each_class_is_drawn_as_often_as_the_others_as_far_as_it_goes() -> None:
    # One code for each class: with one neighbour, a class is told exactly when it was drawn.
    labels = np.repeat([0, 1, 2, 3], [500, 500, 2, 500])
    codes = np.eye(4)[labels]
    test = np.eye(4), np.arange(4)
    assert knn((codes, labels), test, [4, 7, 40], neighbours=1, draws=10) == dict.fromkeys((4, 7, 40), Spread(1, 0))


def test_draws_differ_and_the_seed_repeats_them_whatever_else_is_asked_for() -> None:
    train, test = blobs(300, apart=2), blobs(200, apart=2, seed=1)
    found = knn(train, test, [10, 50], draws=8)
    assert 0 < found[10].std < 0.2
    assert found[50].mean > found[10].mean
    assert knn(train, test, [50], draws=8) == {50: found[50]}
    assert knn(train, test, [50], draws=8, seed=1) != {50: found[50]}


def test_the_spread_is_that_of_the_draws() -> None:
    train, test = blobs(300, apart=2), blobs(200, apart=2, seed=1)
    assert knn(train, test, [10], draws=1)[10].std == 0
    # The first two of many draws are the two draws.
    first, both = knn(train, test, [10], draws=1)[10], knn(train, test, [10], draws=2)[10]
    second = 2 * both.mean - first.mean
    assert both.std == pytest.approx(abs(first.mean - second) / 2)


def test_numbers_of_labels_that_cannot_be_had_are_left_out() -> None:
    train, test = blobs(100), blobs(20, seed=1)
    assert list(knn(train, test, [4, 5, 100, 101, 1000])) == [5, 100]


def one_class(n: int) -> tuple[Codes, Labels]:
    return blobs(n)[0], np.zeros(n, np.int64)


def none() -> tuple[Codes, Labels]:
    return np.zeros((0, 4), np.float32), np.zeros(0, np.int64)


def test_without_classes_or_images_the_figures_are_left_out() -> None:
    for train, test in ((one_class(50), blobs(50)), (none(), blobs(50)), (blobs(50), none()), (none(), none())):
        assert knn(train, test, [10, 50]) == {}
        assert linear_probe(*train, *test) is None
    assert clusters(*one_class(50)) is None
    assert clusters(*none()) is None


def test_collapsed_codes_tell_classes_no_better_than_chance() -> None:
    for scale in (0, 1e-7):  # wholly, and to the last bits of single precision
        codes, labels = blobs(300, seed=2)
        collapsed = (1 + scale * np.random.default_rng(0).standard_normal(codes.shape)).astype(np.float32)
        train, test = (collapsed[:200], labels[:200]), (collapsed[200:], labels[200:])
        assert knn(train, test, [30, 200])[200].mean == pytest.approx(1 / 3, abs=0.15)
        assert knn(train, test, [30], metric="cosine")[30].mean == pytest.approx(1 / 3, abs=0.15)
        assert linear_probe(*train, *test) == pytest.approx(1 / 3, abs=0.15)
        found = clusters(collapsed, labels)
        assert found is not None
        assert found.nmi == pytest.approx(0, abs=0.05)
        assert found.ari == pytest.approx(0, abs=0.05)
        assert found.silhouette == pytest.approx(0, abs=0.05)


def test_codes_at_zero_have_a_cosine_too() -> None:
    labels = blobs(60)[1]
    codes = np.zeros((60, 4), np.float32)
    assert 0 <= knn((codes, labels), (codes, labels), [30], metric="cosine")[30].mean <= 1


def test_the_probe_reads_a_direction_whatever_its_scale() -> None:
    rng = np.random.default_rng(0)
    codes = rng.standard_normal((2000, 6)) * 10.0 ** np.arange(-3, 3)
    labels = (codes[:, 0] > 0).astype(np.int64)  # in the smallest of them
    assert linear_probe(codes[:1500], labels[:1500], codes[1500:], labels[1500:]) == pytest.approx(1, abs=0.02)


def test_the_probe_cannot_bend() -> None:
    rng = np.random.default_rng(0)
    codes = rng.standard_normal((2000, 2))
    labels = (codes[:, 0] * codes[:, 1] > 0).astype(np.int64)  # exclusive or
    accuracy = linear_probe(codes[:1500], labels[:1500], codes[1500:], labels[1500:])
    assert accuracy is not None
    assert accuracy < 0.7


def test_the_probe_sees_no_more_training_images_than_it_may() -> None:
    train, test = blobs(500, apart=2), blobs(400, apart=2, seed=1)
    few = [linear_probe(*train, *test, at_most=10, seed=seed) for seed in range(4)]
    assert len(set(few)) > 1
    assert linear_probe(*train, *test, at_most=10, seed=0) == few[0]
    assert linear_probe(*train, *test, seed=1) == linear_probe(*train, *test, at_most=500)


def test_clusters_that_are_the_classes_are_found() -> None:
    found = clusters(*blobs(120))
    assert found is not None
    assert found.nmi == pytest.approx(1)
    assert found.ari == pytest.approx(1)
    assert found.silhouette == pytest.approx(1, abs=0.05)


def silhouette_by_definition(codes: Codes, labels: Labels) -> float:
    distances = cdist(codes, codes)
    widths = []
    for i, label in enumerate(labels):
        own = (labels == label) & (np.arange(len(labels)) != i)
        a = distances[i, own].mean()
        b = min(distances[i, labels == other].mean() for other in set(labels) - {label})
        widths.append((b - a) / max(a, b))
    return float(np.mean(widths))


def test_the_silhouette_is_of_the_classes_and_not_of_the_clusters() -> None:
    codes, labels = blobs(60, apart=3)
    labels[:20] = labels[:20][::-1]  # some are where they do not belong
    found = clusters(codes, labels)
    assert found is not None
    assert found.silhouette == pytest.approx(silhouette_by_definition(codes, labels), rel=1e-5)
    few = clusters(codes, labels, at_most=30)
    assert few is not None
    assert few.silhouette != found.silhouette
    assert (few.nmi, few.ari) == (found.nmi, found.ari)


def test_codes_without_a_trace_of_the_classes_agree_with_them_by_chance_alone() -> None:
    codes = np.random.default_rng(0).standard_normal((600, 3))
    found = clusters(codes, blobs(600)[1])
    assert found is not None
    assert abs(found.ari) < 0.02
    assert found.nmi < 0.02


def test_an_image_a_class_has_clusters_and_no_silhouette() -> None:
    found = clusters(np.eye(4), np.arange(4))
    assert found is not None
    assert found.nmi == pytest.approx(1)
    assert found.silhouette is None
