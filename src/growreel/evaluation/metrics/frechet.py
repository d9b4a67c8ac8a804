"""Frechet distance between Gaussians fitted to features (FID: Heusel et al. 2017, arXiv 1706.08500; FVD: Unterthiner et al. 2018)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from growreel.errors import GrowreelError
from growreel.evaluation.metrics.rows import Counts, check_dimensions, check_rows, chunks, samples_and_counts


class Gaussian(NamedTuple):
    """Moments of a set of samples: mean [d], unbiased covariance [d, d], float64."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]


def gaussian(rows: NDArray[Any], counts: Counts | None = None) -> Gaussian:
    """Moments of rows [n, d], or of frames [n, t, d] each of which is a sample; clip k counted counts[k] times.

    Two passes in float64 over parts of the rows: nothing is lost where the mean is large, and memory does not grow with n.

    Raises GrowreelError for fewer than 2 samples, and for values that are not finite.
    """
    samples, weights = samples_and_counts(rows, counts)
    total = int(weights.sum())
    if total < 2:
        raise GrowreelError(f"a covariance needs at least 2 samples, there are {total}")
    mean = np.zeros(samples.shape[1])
    start = 0
    for part in chunks(samples):
        mean += weights[start : start + len(part)] @ part.astype(np.float64)
        start += len(part)
    mean /= total
    scatter, start = np.zeros((len(mean), len(mean))), 0
    for part in chunks(samples):
        centred = part.astype(np.float64) - mean
        scatter += (centred * weights[start : start + len(part), None]).T @ centred
        start += len(part)
    if not np.isfinite(scatter).all():
        raise GrowreelError("features are not finite; look at the clips, or at the weights file")
    return Gaussian(mean, scatter / (total - 1))


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """|m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)), also where covariances have not full rank.

    The trace of the root is the sum of singular values of S_a^(1/2) S_b^(1/2). It is found without the root of a matrix that is not
    symmetric, whose result depends on the version of SciPy and falls apart for fewer samples than dimensions.
    """
    return _distance(a, _root(a.covariance), b, _root(b.covariance))


def _root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """A factor F [d, r] with F F^T = covariance. Eigenvalues within rounding of zero are left out: their roots would be large noise."""
    values, vectors = np.linalg.eigh(covariance)
    real = values > len(values) * np.finfo(np.float64).eps * max(values[-1], 0.0)
    root: NDArray[np.float64] = vectors[:, real] * np.sqrt(values[real])
    return root


def _distance(a: Gaussian, root_a: NDArray[np.float64], b: Gaussian, root_b: NDArray[np.float64]) -> float:
    shared = np.linalg.svd(root_a.T @ root_b, compute_uv=False).sum() if root_a.size and root_b.size else 0.0
    distance = float(((a.mean - b.mean) ** 2).sum() + np.trace(a.covariance) + np.trace(b.covariance) - 2 * shared)
    return max(distance, 0.0)  # of equal sets rounding may leave a little below zero


class FrechetDistance:
    """`value`: the Frechet distance between rows of real and fake clips [n, d], or of their frames [n, t, d]."""

    def __init__(self, real: NDArray[Any], fake: NDArray[Any]) -> None:
        """Raises GrowreelError for a single clip, values that are not finite, or different dimensions."""
        check_dimensions(real, fake)
        for name, rows in (("real", real), ("fake", fake)):
            check_rows(name, rows, least=2)
        self._real, self._fake = real, fake
        self._once = [self._fitted(rows, None) for rows in (real, fake)]

    def __call__(self, real_counts: Counts | None = None, fake_counts: Counts | None = None) -> dict[str, float]:
        a = self._once[0] if real_counts is None else self._fitted(self._real, real_counts)
        b = self._once[1] if fake_counts is None else self._fitted(self._fake, fake_counts)
        return {"value": _distance(*a, *b)}

    @staticmethod
    def _fitted(rows: NDArray[Any], counts: Counts | None) -> tuple[Gaussian, NDArray[np.float64]]:
        fitted = gaussian(rows, counts)
        return fitted, _root(fitted.covariance)
