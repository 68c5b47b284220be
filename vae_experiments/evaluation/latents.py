"""What codes [N, latent_dim] say about labels [N], both finite and without unlabelled images.

A figure that the data cannot give (one class, no test images, fewer images than asked for) is left out.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score, silhouette_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

Codes = NDArray[np.floating[Any]]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Spread:
    """A figure over repeats: their mean, and their standard deviation (of the population: 0 for one)."""

    mean: float
    std: float


@dataclass(frozen=True)
class Clusters:
    """How classes and clusters of codes fit one another.

    Args:
        nmi: normalised mutual information of classes and k-means clusters, in [0, 1]; by the mean of the
            two entropies.
        ari: their adjusted Rand index, 1 for equal partitions and 0 for chance (Hubert & Arabie 1985).
        silhouette: mean silhouette of the classes themselves, in [-1, 1] (Rousseeuw 1987); None where the
            images it was taken over are too few.
    """

    nmi: float
    ari: float
    silhouette: float | None


def knn_accuracy(
    train_codes: Codes,
    train_labels: Labels,
    test_codes: Codes,
    test_labels: Labels,
    *,
    labelled: Sequence[int],
    draws: int,
    neighbours: int = 5,
    metric: Literal["euclidean", "cosine"] = "euclidean",
    seed: int = 0,
) -> dict[int, Spread]:
    """Accuracy of k-nearest neighbours that know the labels of a few training images.

    As Davidson et al. (2018) measure latent spaces, on posterior means, with 100, 600 and 1,000 labels and 20
    draws. A draw here holds equally many of every class, within one and as far as a class has them, which is
    the habit with so few labels (Kingma et al. 2014).

    Args:
        train_codes: [N, latent_dim], of the images that may be drawn.
        train_labels: [N].
        test_codes: [M, latent_dim], of the images that are classified.
        test_labels: [M].
        labelled: numbers of labelled images; one with fewer than `neighbours`, or more than N, is left out.
        draws: of the labelled images, for each number.
        neighbours: k, by majority.
        metric: "cosine" for codes on a sphere.
        seed: of the draws; those for one number do not depend on the others.

    Returns:
        By number of labelled images, the accuracy's mean and spread over the draws.
    """
    if len(np.unique(train_labels)) < 2 or len(test_labels) == 0:
        return {}
    found = {}
    for size in labelled:
        if not neighbours <= size <= len(train_labels):
            continue
        rng = np.random.default_rng([seed, size])
        accuracies = []
        for _ in range(draws):
            rows = _balanced(train_labels, size, rng)
            classifier = KNeighborsClassifier(neighbours, metric=metric, algorithm="brute")
            classifier.fit(train_codes[rows], train_labels[rows])
            accuracies.append(classifier.score(test_codes, test_labels))
        found[size] = Spread(float(np.mean(accuracies)), float(np.std(accuracies)))
    return found


def linear_probe(
    train_codes: Codes,
    train_labels: Labels,
    test_codes: Codes,
    test_labels: Labels,
    *,
    at_most: int = 10_000,
    seed: int = 0,
) -> float | None:
    """Accuracy of multinomial logistic regression on codes standardised by the training images.

    Its weights carry an L2 penalty of strength 1 beside the cross-entropy summed over the images.

    Args:
        train_codes: [N, latent_dim].
        train_labels: [N].
        test_codes: [M, latent_dim].
        test_labels: [M].
        at_most: training images to learn from, drawn at random where there are more.
        seed: of that draw.

    Returns:
        None where there is one class to learn from, or no test image.
    """
    rows = _some(len(train_labels), at_most, seed)
    if len(np.unique(train_labels[rows])) < 2 or len(test_labels) == 0:
        return None
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    probe.fit(train_codes[rows].astype(np.float64), train_labels[rows])
    return float(probe.score(test_codes.astype(np.float64), test_labels))


def clusters(codes: Codes, labels: Labels, seed: int = 0, *, at_most: int = 5_000) -> Clusters | None:
    """Compares classes with as many k-means clusters (the best of five starts), by Euclidean distances.

    Args:
        codes: [N, latent_dim].
        labels: [N].
        seed: of the starts, and of the images for the silhouette.
        at_most: images that the silhouette is taken over, whose cost grows with their square.

    Returns:
        None where there are fewer than two classes.
    """
    classes = len(np.unique(labels))
    if classes < 2:
        return None
    codes = codes.astype(np.float64)
    with warnings.catch_warnings():
        # Collapsed codes have fewer distinct points than there are classes, and so fewer clusters.
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = KMeans(classes, n_init=5, random_state=seed).fit_predict(codes)
    rows = _some(len(labels), at_most, seed)
    enough = 2 <= len(np.unique(labels[rows])) < len(rows)
    return Clusters(
        nmi=float(normalized_mutual_info_score(labels, found)),
        ari=float(adjusted_rand_score(labels, found)),
        silhouette=float(silhouette_score(codes[rows], labels[rows])) if enough else None,
    )


def _balanced(labels: Labels, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`size` random rows, equally many of each class, within one and as far as a class has them."""
    rows = rng.permutation(len(labels))
    rows = rows[np.argsort(labels[rows], kind="stable")]
    counts = np.unique(labels, return_counts=True)[1]
    place_in_class = np.concatenate([np.arange(count) for count in counts])
    by_turns = np.lexsort((rng.random(len(rows)), place_in_class))  # every class's first, every class's second, ...
    return rows[by_turns[:size]]


def _some(n: int, at_most: int, seed: int) -> NDArray[np.int64]:
    """All of n rows, or a random `at_most` of them."""
    return np.arange(n) if n <= at_most else np.random.default_rng(seed).permutation(n)[:at_most]
