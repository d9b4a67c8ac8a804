"""Fidelity and variety apart: precision and recall (Kynkaanniemi et al. 2019, arXiv 1904.06991), density and coverage (Naeem et al. 2020,
arXiv 2002.09797). All four look at balls around samples that reach to the k-th nearest neighbour in the same set."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from growreel.evaluation.metrics.rows import Counts, check_dimensions, check_rows
from growreel.ranges import check_range

NEAREST = 5
"""k, as in Naeem et al."""


class Manifold:
    """Numbers from rows of real and fake clips [n, d]; of frames [n, t, d] the mean over t is taken.

    * `precision`: share of fakes inside any ball around a real clip;
    * `recall`: share of real clips inside any ball around a fake;
    * `density`: how many real balls a fake lies in, over k; may exceed 1;
    * `coverage`: share of real balls that hold a fake.
    """

    def __init__(self, real: NDArray[Any], fake: NDArray[Any], k: int = NEAREST) -> None:
        """Raises GrowreelError for k clips or fewer, values that are not finite, or different dimensions."""
        check_dimensions(real, fake)
        for name, rows in (("real", real), ("fake", fake)):
            check_rows(name, rows, least=k + 1)
        check_range("nearest neighbours", k, least=1)
        x, y = (one_row_per_clip(rows) for rows in (real, fake))
        centre = x.mean(axis=0)  # near the origin the squared distances lose fewer digits
        x, y = x - centre, y - centre
        real_radius, fake_radius = _kth_distance(x, k), _kth_distance(y, k)
        across = squared_distances(x, y)  # real, fake
        in_real = across <= real_radius[:, None]
        self._k = k
        self._precise = np.asarray(in_real.any(axis=0))
        self._balls = in_real.sum(axis=0)
        self._recalled = np.asarray((across <= fake_radius[None]).any(axis=1))
        self._covered = np.asarray(in_real.any(axis=1))

    def __call__(self, real_counts: Counts | None = None, fake_counts: Counts | None = None) -> dict[str, float]:
        """With counts the balls stay as they are and the clips that are tested are weighted: copies would shrink the balls to points."""
        return {
            "precision": _mean(self._precise, fake_counts),
            "recall": _mean(self._recalled, real_counts),
            "density": _mean(self._balls, fake_counts) / self._k,
            "coverage": _mean(self._covered, real_counts),
        }


def squared_distances(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared Euclidean distances [n, m] between rows [n, d] and [m, d]; equal rows have distance 0 up to rounding, never below."""
    squares: NDArray[np.float64] = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1)[None] - 2 * x @ y.T
    return np.asarray(np.maximum(squares, 0.0))


def one_row_per_clip(rows: NDArray[Any]) -> NDArray[np.float64]:
    """Rows [n, d]; of frames [n, t, d] their mean."""
    return np.asarray(rows.mean(axis=1, dtype=np.float64) if rows.ndim == 3 else rows, np.float64)


def _kth_distance(x: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    distances = squared_distances(x, x)
    np.fill_diagonal(distances, np.inf)  # a sample is not its own neighbour
    nearest: NDArray[np.float64] = np.partition(distances, k - 1, axis=1)[:, k - 1]
    return nearest


def _mean(values: NDArray[Any], counts: Counts | None) -> float:
    return float(np.average(values, weights=counts))
