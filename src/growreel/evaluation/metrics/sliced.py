"""Sliced Wasserstein distance of pyramid patches (Karras et al. 2017, arXiv 1710.10196, section 5; Rabin et al. 2011)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from growreel.errors import GrowreelError
from growreel.evaluation.metrics.rows import Counts, check_dimensions, check_rows
from growreel.growth import Size
from growreel.ranges import check_range
from growreel.runtime.randomness import Purpose, keyed_rng

DIRECTIONS = 512
RESAMPLED_DIRECTIONS = 64
"""With counts, that is in a bootstrap: how much the distance moves with the clips needs fewer directions than the distance itself."""
AT_A_TIME = 32
"""Directions projected together; bounds the memory."""


class SlicedWasserstein:
    """`mean` over the levels, and the distance at each (`16x64x64`, ...), times 1000 as published, of rows [n, levels, patches, c, ...].

    Every set is normalised channel by channel to mean 0 and deviation 1 on each level, as the released code does it. Then patches are
    projected on random directions; the distance is the mean over directions of the 1-D Wasserstein-1 distance.
    """

    def __init__(self, real: NDArray[Any], fake: NDArray[Any], levels: Sequence[Size], seed: int = 0, directions: int = DIRECTIONS) -> None:
        """Raises GrowreelError for values that are not finite or rows of different shapes."""
        check_dimensions(real, fake)
        for name, rows in (("real", real), ("fake", fake)):
            check_rows(name, rows)
        if real.ndim != 7 or real.shape[1] != len(levels):
            raise GrowreelError(f"rows {list(real.shape)} are not [n, levels, patches, c, t, h, w] with the {len(levels)} levels named")
        check_range("directions", directions, least=1)
        self._sets, self._levels, self._seed, self._directions = (real, fake), tuple(levels), seed, directions

    def __call__(self, real_counts: Counts | None = None, fake_counts: Counts | None = None) -> dict[str, float]:
        """With counts the normalisation stays that of all clips, and fewer directions are taken."""
        values = {str(size): self._distance(level, real_counts, fake_counts) for level, size in enumerate(self._levels)}
        return {"mean": sum(values.values()) / len(values), **(values if len(values) > 1 else {})}

    def _distance(self, level: int, real_counts: Counts | None, fake_counts: Counts | None) -> float:
        real, fake = (_normalised(np.asarray(rows[:, level])) for rows in self._sets)
        resampled = real_counts is not None or fake_counts is not None
        directions = min(self._directions, RESAMPLED_DIRECTIONS) if resampled else self._directions
        vectors = keyed_rng(Purpose.EVALUATION, self._seed, 5, level).standard_normal((real.shape[1], directions))
        vectors = (vectors / np.linalg.norm(vectors, axis=0)).astype(np.float32)
        weights = [_per_patch(counts, rows) for counts, rows in zip((real_counts, fake_counts), self._sets, strict=True)]
        parts = np.split(vectors, range(AT_A_TIME, directions, AT_A_TIME), axis=1)
        return float(1e3 * np.concatenate([wasserstein_1d(real @ part, fake @ part, *weights) for part in parts]).mean())


def _per_patch(counts: Counts | None, rows: NDArray[Any]) -> Counts | None:
    return None if counts is None else counts.repeat(rows.shape[2])


def wasserstein_1d(a: NDArray[Any], b: NDArray[Any], a_counts: Counts | None = None, b_counts: Counts | None = None) -> NDArray[np.float64]:
    """Wasserstein-1 distances [k] between samples a [n, k] and b [m, k], column by column, sample i counted counts[i] times.

    The integral of the difference of the distribution functions, so sets need not have one size.
    """
    joined = np.concatenate([a, b])
    order = joined.argsort(axis=0)
    values = np.take_along_axis(joined, order, axis=0)
    steps = np.concatenate([_shares(len(a), a_counts), -_shares(len(b), b_counts)])
    difference = np.cumsum(steps[order], axis=0)[:-1]
    distances: NDArray[np.float64] = (np.abs(difference) * np.diff(values, axis=0)).sum(axis=0)
    return distances


def _shares(count: int, counts: Counts | None) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = np.full(count, 1 / count) if counts is None else counts / counts.sum()
    return shares


def _normalised(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Patches [n, patches, c, t, h, w] as vectors [n * patches, d], every channel with mean 0 and deviation 1 over all patches."""
    axes = (0, 1, 3, 4, 5)
    mean, deviation = rows.mean(axis=axes, keepdims=True, dtype=np.float64), rows.std(axis=axes, keepdims=True, dtype=np.float64)
    flat: NDArray[np.float32] = (rows - mean.astype(np.float32)) / np.maximum(deviation, 1e-8).astype(np.float32)
    return flat.reshape(flat.shape[0] * flat.shape[1], -1)
