"""Sample metrics, against the definitions written out and against closed forms."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist

from vae_experiments.evaluation import samples
from vae_experiments.evaluation.samples import Neighbourhoods, density_coverage_precision_recall, frechet_distance

Array = NDArray[np.float64]


def normal(n: int, dims: int = 6, shift: float = 0.0, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(shift, 1, (n, dims))


def by_definition(real: Array, fake: Array, k: int) -> Neighbourhoods:
    def radius(points: Array, i: int) -> float:
        return float(sorted(cdist(points[i : i + 1], np.delete(points, i, axis=0))[0])[k - 1])

    real_radii, fake_radii = ([radius(points, i) for i in range(len(points))] for points in (real, fake))
    between = cdist(real, fake)
    pairs = [(i, j) for i in range(len(real)) for j in range(len(fake))]
    in_real = {(i, j) for i, j in pairs if between[i, j] <= real_radii[i]}
    in_fake = {(i, j) for i, j in pairs if between[i, j] <= fake_radii[j]}
    return Neighbourhoods(
        precision=len({j for _, j in in_real}) / len(fake),
        recall=len({i for i, _ in in_fake}) / len(real),
        density=len(in_real) / (k * len(fake)),
        coverage=len({i for i, _ in in_real}) / len(real),
    )


@pytest.mark.parametrize(("k", "n", "m", "shift"), [(1, 40, 30, 0.5), (5, 35, 50, 0.0), (3, 4, 4, 1.0)])
def test_neighbourhoods_are_what_their_definitions_say(k: int, n: int, m: int, shift: float, monkeypatch) -> None:
    real, fake = normal(n), normal(m, shift=shift, seed=1)
    expected = by_definition(real, fake, k)
    for block_bytes in (1, 1000, 1 << 26):
        monkeypatch.setattr(samples, "BLOCK_BYTES", block_bytes)
        found = density_coverage_precision_recall(real, fake, k)
        assert found is not None
        assert vars(found) == pytest.approx(vars(expected))


def test_two_draws_of_one_distribution_are_close() -> None:
    found = density_coverage_precision_recall(normal(1000, 2), normal(1000, 2, seed=1))
    assert found is not None
    assert found.density == pytest.approx(1, abs=0.1)
    # Naeem et al. (2020): coverage of equal distributions is near 1 - 2^-k.
    assert found.coverage == pytest.approx(1 - 2**-5, abs=0.02)
    assert min(found.precision, found.recall) > 0.95


def test_missing_modes_cost_recall_and_coverage_and_not_precision() -> None:
    real = np.concatenate([normal(200), normal(200, shift=100, seed=1)])
    found = density_coverage_precision_recall(real, normal(400, seed=2))
    assert found is not None
    assert found.precision > 0.8
    assert max(found.recall, found.coverage) <= 0.5


def test_samples_far_from_every_image_have_none_of_them() -> None:
    found = density_coverage_precision_recall(normal(50), normal(50, shift=100, seed=1))
    assert found == Neighbourhoods(precision=0, recall=0, density=0, coverage=0)


def test_copies_of_one_image_lie_where_it_is() -> None:
    # Where all points are one, every ball has no extent; its centre is in it all the same.
    same = np.tile(normal(1, 64).astype(np.float32), (20, 1))
    found = density_coverage_precision_recall(same, same.copy())
    assert found == Neighbourhoods(precision=1, recall=1, density=4, coverage=1)


@pytest.mark.parametrize(("n", "m"), [(5, 50), (50, 5), (0, 0)])
def test_without_enough_points_for_balls_there_are_no_figures(n: int, m: int) -> None:
    assert density_coverage_precision_recall(normal(n), normal(m), neighbours=5) is None


def covariance_form(real: Array, fake: Array) -> float:
    s, t = np.cov(real, rowvar=False), np.cov(fake, rowvar=False)
    means = np.square(real.mean(0) - fake.mean(0)).sum()
    return float(means + np.trace(s + t - 2 * np.real(sqrtm(s @ t))))


@pytest.mark.parametrize(("n", "m"), [(300, 200), (40, 500)])
def test_the_frechet_distance_is_the_published_formula(n: int, m: int) -> None:
    mixed = normal(8, 8, seed=3)
    real, fake = normal(n, 8) @ mixed, normal(m, 8, shift=0.3, seed=1) * np.linspace(0.1, 3, 8)
    assert frechet_distance(real, fake) == pytest.approx(covariance_form(real, fake), rel=1e-6)
    assert frechet_distance(fake, real) == pytest.approx(covariance_form(real, fake), rel=1e-6)
    in_single = frechet_distance(real.astype(np.float32), fake.astype(np.float32))
    assert in_single == pytest.approx(covariance_form(real, fake), rel=1e-5)


def test_shifted_and_stretched_points_are_as_far_apart_as_the_closed_form_says() -> None:
    x = normal(500, 5)
    assert frechet_distance(x, x + 2) == pytest.approx(5 * 2**2)
    # Commuting covariances: the distance is that of their square roots.
    assert frechet_distance(x - x.mean(0), 3 * (x - x.mean(0))) == pytest.approx(4 * np.trace(np.cov(x, rowvar=False)))


def test_a_set_is_at_no_distance_from_itself_however_degenerate() -> None:
    full = normal(50, 20)
    flat = np.repeat(normal(50, 1), 20, axis=1)  # rank 1
    few = 1e6 + normal(5, 20)  # fewer points than dimensions, far from zero
    for points in (full, flat, few, np.ones((10, 20))):
        distance = frechet_distance(points, points[::-1])
        assert distance is not None
        assert 0 <= distance < 1e-7


def test_without_two_points_there_is_no_frechet_distance() -> None:
    assert frechet_distance(normal(1), normal(10)) is None
    assert frechet_distance(normal(10), normal(0)) is None
