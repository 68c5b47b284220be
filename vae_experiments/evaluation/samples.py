"""How a set of generated images is set beside a set of real ones, both as features [N, F]."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BLOCK_BYTES = 1 << 26  # of distances held at once

Features = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Neighbourhoods:
    """Whether generated points lie among the real ones, and the real ones among them.

    The ball of a point reaches as far as its k-th nearest other point of its own set, its edge included.

    Args:
        precision: share of the generated points in the ball of any real one (Kynkaanniemi et al. 2019).
        recall: share of the real points in the ball of any generated one (likewise).
        density: real balls that a generated point lies in, on average, divided by k: near 1 where both sets
            come from one distribution, and above 1 where the real points are dense (Naeem et al. 2020).
        coverage: share of the real balls that any generated point lies in (likewise).
    """

    precision: float
    recall: float
    density: float
    coverage: float


def density_coverage_precision_recall(
    real_features: Features, fake_features: Features, neighbours: int = 5
) -> Neighbourhoods | None:
    """Compares real features [N, F] with generated ones [M, F], all finite, by Euclidean distances.

    Coverage and recall grow with M, and the balls shrink as N grows: figures of other N or M do not compare.

    Args:
        real_features: [N, F].
        fake_features: [M, F].
        neighbours: k.

    Returns:
        None where a set has no more than k points, and so no balls.
    """
    if min(len(real_features), len(fake_features)) <= neighbours:
        return None
    real, fake = torch.from_numpy(real_features).double(), torch.from_numpy(fake_features).double()
    real_radii, fake_radii = _radii(real, neighbours), _radii(fake, neighbours)
    balls_around_fake = torch.zeros(len(fake), dtype=torch.int64)
    covered, recalled = 0, 0
    for rows, distances in _distances(real, fake):
        in_real_ball = distances <= real_radii[rows, None]
        balls_around_fake += in_real_ball.sum(0)
        covered += int(in_real_ball.any(1).sum())
        recalled += int((distances <= fake_radii).any(1).sum())
    return Neighbourhoods(
        precision=balls_around_fake.gt(0).double().mean().item(),
        recall=recalled / len(real),
        density=balls_around_fake.double().mean().item() / neighbours,
        coverage=covered / len(real),
    )


def frechet_distance(real_features: Features, fake_features: Features) -> float | None:
    """Squared Frechet distance of the Gaussians fitted to features [N, F] and [M, F], at least 0.

    |m_r - m_f|^2 + tr(S_r + S_f - 2 (S_r S_f)^(1/2)) with means m and covariances S (Dowson & Landau 1982);
    in the features of an Inception network this is the FID (Heusel et al. 2017). Biased upwards by few
    points, so that only figures of equal N and M compare.

    Returns:
        None where a set has fewer than two points, and so no covariance.
    """
    if min(len(real_features), len(fake_features)) < 2:
        return None
    (real_mean, real_root), (fake_mean, fake_root) = _gaussian(real_features), _gaussian(fake_features)
    # The eigenvalues of S_r S_f are the squared singular values of A B^T where S_r = A^T A and S_f = B^T B:
    # nothing is squared, so nothing is lost to rounding and no root is taken of what rounding made negative.
    cross = np.linalg.svd(real_root @ fake_root.T, compute_uv=False).sum()
    spread = np.square(real_root).sum() + np.square(fake_root).sum() - 2 * cross
    return max(0.0, float(np.square(real_mean - fake_mean).sum() + spread))


def _gaussian(features: Features) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean [F], and a matrix A [min(N, F), F] with A^T A the covariance (unbiased, by N - 1)."""
    mean = features.mean(axis=0, dtype=np.float64)
    return mean, np.linalg.qr((features - mean) / np.sqrt(len(features) - 1)).R


def _radii(points: Tensor, neighbours: int) -> Tensor:
    """Each point's distance to its k-th nearest other point, [N]."""
    # Each is nearest to itself, hence one more.
    return torch.cat([distances.kthvalue(neighbours + 1).values for _, distances in _distances(points, points)])


def _distances(x: Tensor, y: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Euclidean distances of some rows of x [N, F] after others to all of y [M, F], [rows, M]."""
    block = max(1, BLOCK_BYTES // (8 * len(y)))
    for start in range(0, len(x), block):
        rows = slice(start, start + block)
        # By differences and not by products, which leave equal points at a distance and their balls without them.
        yield rows, torch.cdist(x[rows], y, compute_mode="donot_use_mm_for_euclid_dist")
