"""Inception Score (Salimans et al. 2016, arXiv 1606.03498, section 4), here of video classifiers (Saito et al. 2017)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from growreel.errors import GrowreelError
from growreel.evaluation.metrics.rows import Counts, check_rows


def inception_score(probabilities: NDArray[Any], counts: Counts | None = None) -> float:
    """exp of the mean KL divergence (nats) between p(class | clip) [n, classes] and its mean: 1 to the number of classes.

    Raises GrowreelError unless every row is a distribution.
    """
    check_rows("class probabilities", probabilities)
    p = np.asarray(probabilities, np.float64)
    if p.ndim != 2 or p.min() < 0 or np.abs(p.sum(axis=1) - 1).max() > 1e-3:
        raise GrowreelError("class probabilities must be rows [n, classes] from 0 to 1 that sum to 1; was the softmax forgotten?")
    p = p / p.sum(axis=1, keepdims=True)
    weights = np.full(len(p), 1 / len(p)) if counts is None else counts / counts.sum()
    marginal = weights @ p
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * (np.log(p) - np.log(marginal)), 0.0)  # 0 log 0 = 0
    return float(np.exp(weights @ terms.sum(axis=1)))


class InceptionScore:
    """`value`: the score of the fake clips; `of real clips`: that of the real ones, which is the most to hope for."""

    def __init__(self, real: NDArray[Any], fake: NDArray[Any]) -> None:
        self._real, self._fake = real, fake

    def __call__(self, real_counts: Counts | None = None, fake_counts: Counts | None = None) -> dict[str, float]:
        return {"value": inception_score(self._fake, fake_counts), "of real clips": inception_score(self._real, real_counts)}
