"""Motion of fake clips against that of real ones. Metrics of single frames see none of it (docs/evaluation.md has the figures)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from growreel.evaluation.extractors.motion import SCALARS
from growreel.evaluation.metrics.rows import Counts, check_dimensions, check_rows
from growreel.evaluation.metrics.sliced import wasserstein_1d

ROUNDING_NOISE = 1 / 12
"""Variance that rounding to whole grey levels leaves in a pixel. Less power than that is none."""


class Motion:
    """Numbers from rows of `MotionStatistics`. Distances are 0 for equal distributions; the others are means over clips.

    * `spectrum_shape_distance`: root mean square over frequencies, in dB, between the mean spectra of fake and real clips, each clip's
      about its own mean: flicker, blur over time, frames out of order, swings. It does not depend on how fast the videos of a
      set happen to be, so it is the number to look at first;
    * `spectrum_distance`: the same of mean power itself: also too little motion and too much;
    * `energy_distance`: Wasserstein-1 of the energies in dB;
    * `static_rate`, `static_rate_of_real`: share of clips without motion;
    * `loop_distance`: Wasserstein-1 of the loop scores; `loop_score`, `loop_score_of_real`: their means.
    """

    def __init__(self, real: NDArray[Any], fake: NDArray[Any]) -> None:
        """Raises GrowreelError for values that are not finite, or clips of different lengths."""
        check_dimensions(real, fake)
        for name, rows in (("real", real), ("fake", fake)):
            check_rows(name, rows)
        self._real, self._fake = np.asarray(real, np.float64), np.asarray(fake, np.float64)

    def __call__(self, real_counts: Counts | None = None, fake_counts: Counts | None = None) -> dict[str, float]:
        real, fake = self._mean(self._real, real_counts), self._mean(self._fake, fake_counts)
        frames_apart = wasserstein_1d(self._scalars(self._real), self._scalars(self._fake), real_counts, fake_counts)
        difference = _decibels(fake[len(SCALARS) :]) - _decibels(real[len(SCALARS) :])
        shapes = [self._mean(_shape(rows), each) for rows, each in ((self._real, real_counts), (self._fake, fake_counts))]
        return {
            "spectrum_shape_distance": float(np.sqrt(((shapes[1] - shapes[0]) ** 2).mean())),
            "spectrum_distance": float(np.sqrt((difference**2).mean())),
            "energy_distance": float(frames_apart[0]),
            "static_rate": float(fake[1]),
            "static_rate_of_real": float(real[1]),
            "loop_distance": float(frames_apart[2]),
            "loop_score": float(fake[2]),
            "loop_score_of_real": float(real[2]),
        }

    @staticmethod
    def _mean(rows: NDArray[np.float64], counts: Counts | None) -> NDArray[np.float64]:
        return np.asarray(np.average(rows, axis=0, weights=counts))

    @staticmethod
    def _scalars(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Energy in dB, static, loop."""
        return np.column_stack([_decibels(rows[:, 0]), rows[:, 1 : len(SCALARS)]])


def _shape(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spectra [n, frequencies] in dB about each clip's own mean."""
    decibels = _decibels(rows[:, len(SCALARS) :])
    return np.asarray(decibels - decibels.mean(axis=1, keepdims=True))


def _decibels(power: NDArray[np.float64]) -> NDArray[np.float64]:
    decibels: NDArray[np.float64] = 10 * np.log10(np.maximum(power, ROUNDING_NOISE))
    return decibels
