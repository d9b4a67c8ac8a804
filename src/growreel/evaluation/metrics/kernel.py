"""Kernel Inception distance: unbiased maximum mean discrepancy with a cubic kernel (Binkowski et al. 2018, arXiv 1801.01401)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from growreel.evaluation.metrics.rows import Counts, check_dimensions, check_rows, samples_and_counts
from growreel.runtime.randomness import Purpose, keyed_rng

MAX_SAMPLES = 4096
"""Of each set. The estimate is unbiased for any number, and kernel matrices grow with its square."""


class KernelDistance:
    """`value`: the squared discrepancy between rows of real and fake clips [n, d], or of their frames [n, t, d].

    k(x, y) = (x.y / d + 1)^3; the mean over pairs of different samples within each set, less twice the mean across. It may be a
    little negative. Of more than `max_samples` samples a random choice is taken, the same for the same seed.
    """

    def __init__(self, real: NDArray[Any], fake: NDArray[Any], seed: int = 0, max_samples: int = MAX_SAMPLES) -> None:
        """Raises GrowreelError for fewer than 2 clips, values that are not finite, or different dimensions."""
        check_dimensions(real, fake)
        for name, rows in (("real", real), ("fake", fake)):
            check_rows(name, rows, least=2)
        self._frames = [rows.shape[1] if rows.ndim == 3 else 1 for rows in (real, fake)]
        self._chosen = [self._choose(len(rows) * t, seed, max_samples) for rows, t in zip((real, fake), self._frames, strict=True)]
        x, y = (
            np.asarray(samples_and_counts(rows, None)[0][chosen], np.float64)
            for rows, chosen in zip((real, fake), self._chosen, strict=True)
        )
        self._xx, self._yy, self._xy = _kernel(x, x), _kernel(y, y), _kernel(x, y)

    def __call__(self, real_counts: Counts | None = None, fake_counts: Counts | None = None) -> dict[str, float]:
        """A clip counted twice counts as two clips, as if its row were there twice."""
        p, q = self._weights(0, real_counts), self._weights(1, fake_counts)
        across = float(p @ self._xy @ q / (p.sum() * q.sum()))
        return {"value": _within(self._xx, p) + _within(self._yy, q) - 2 * across}

    @staticmethod
    def _choose(samples: int, seed: int, most: int) -> NDArray[np.int64]:
        return np.sort(keyed_rng(Purpose.EVALUATION, seed, 3).permutation(samples)[:most])

    def _weights(self, side: int, counts: Counts | None) -> NDArray[np.float64]:
        chosen = self._chosen[side]
        if counts is None:
            return np.ones(len(chosen))
        return counts.repeat(self._frames[side])[chosen].astype(np.float64)


def _kernel(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    cubic: NDArray[np.float64] = (x @ y.T / x.shape[1] + 1) ** 3
    return cubic


def _within(kernel: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """Mean over ordered pairs of different samples; copies of a sample are different samples."""
    total = weights.sum()
    return float((weights @ kernel @ weights - weights @ kernel.diagonal()) / (total * (total - 1)))
