"""One metric on rows that are there: value, repeats, interval, and the real clips against themselves."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from growreel.errors import GrowreelError
from growreel.evaluation.bootstrap import bootstrap_deviations
from growreel.evaluation.card import Figure, MetricResult
from growreel.evaluation.suite import Metric, Rows
from growreel.runtime.randomness import Purpose, keyed_rng

Halves = tuple[NDArray[np.int64], NDArray[np.int64]]


def measure(
    metric: Metric, real: Rows, fakes: Sequence[Rows], groups: NDArray[np.int64], halves: Halves | None, resamples: int, seed: int
) -> MetricResult:
    """Compare rows of real clips with those of each repeat's generated clips.

    Args:
        groups: of real clips that are not independent, [n]; the bootstrap draws whole groups.
        halves: clip numbers of two halves of the real clips, for the figure `real`; None leaves it out.
        resamples: of the bootstrap, on the first repeat; below 2 gives no interval.

    Raises:
        GrowreelError: the metric cannot be computed from these rows (not finite, too few).
    """
    started = time.perf_counter()
    comparison = metric.compare(real, fakes[0])
    repeats = [comparison(None, None), *(metric.compare(real, fake)(None, None) for fake in fakes[1:])]
    deviations = bootstrap_deviations(comparison, groups, len(fakes[0]), resamples, seed)
    floor = _real_against_real(metric, real, halves) if halves else {}
    figures = {name: Figure.of([repeat[name] for repeat in repeats], deviations.get(name), floor.get(name)) for name in repeats[0]}
    return MetricResult(
        name=metric.name,
        about=metric.about,
        better=metric.better,
        figures=figures,
        protocol={**metric.extractor.describe(), **metric.parameters},
        clips={"real": len(real), "fake": len(fakes[0]), "half": len(halves[0]) if halves else 0},
        seconds=time.perf_counter() - started,
    )


def _real_against_real(metric: Metric, real: Rows, halves: Halves) -> dict[str, float]:
    """Empty if the halves are too small for the metric, though the whole is not."""
    try:
        return metric.compare(np.asarray(real[halves[0]]), np.asarray(real[halves[1]]))(None, None)
    except GrowreelError:
        return {}


def source_halves(groups: NDArray[np.int64], seed: int) -> Halves | None:
    """Split clips into two halves that share no group; None if there is but one group. Sizes differ by at most the largest group.

    Clips of one video look alike: halves that shared videos would make the floor look lower than a perfect generator could come.
    """
    names, sizes = np.unique(groups, return_counts=True)
    if len(names) < 2:
        return None
    first: set[int] = set()
    taken = [0, 0]
    for k in keyed_rng(Purpose.EVALUATION, seed, 2).permutation(len(names)):  # not by size: that would fix where the largest go
        side = int(taken[0] > taken[1])
        taken[side] += int(sizes[k])
        if side == 0:
            first.add(int(names[k]))
    in_first = np.isin(groups, list(first))
    return np.flatnonzero(in_first), np.flatnonzero(~in_first)
