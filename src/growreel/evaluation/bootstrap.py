"""How far a number would move if other clips had been drawn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from growreel.evaluation.metrics.rows import Counts
from growreel.runtime.randomness import Purpose, keyed_rng

Comparison = Callable[[Counts | None, Counts | None], dict[str, float]]
"""Named numbers for real and fake clips, clip k counted counts[k] times (None: every clip once)."""


def bootstrap_deviations(
    comparison: Comparison, real_groups: NDArray[np.int64], fake: int, resamples: int, seed: int = 0
) -> dict[str, float]:
    """Standard deviation of every number over resamples of real and of `fake` clips, drawn with replacement (Efron 1979).

    Of real clips whole groups are drawn, `real_groups` [n] saying which clips belong together: those of one video are not independent,
    and drawing them one by one made intervals several times too narrow.

    The deviation is used, not the percentiles: a resample has fewer different clips, and distances between distributions grow with
    that, so percentiles would lie beside the value. Empty for fewer than 2 resamples.
    """
    if resamples < 2:
        return {}
    groups = np.unique(real_groups, return_inverse=True)[1]
    values: dict[str, list[float]] = {}
    for k in range(resamples):
        rng = keyed_rng(Purpose.EVALUATION, seed, 1, k)
        for name, value in comparison(_draw(rng, groups)[groups], _draw(rng, np.arange(fake))).items():
            values.setdefault(name, []).append(value)
    return {name: float(np.std(each, ddof=1)) for name, each in values.items()}


def _draw(rng: np.random.Generator, groups: NDArray[np.int64]) -> Counts:
    """How often each group is drawn, as many draws as there are groups."""
    count = int(groups.max()) + 1
    return np.bincount(rng.integers(0, count, count), minlength=count).astype(np.int64)
