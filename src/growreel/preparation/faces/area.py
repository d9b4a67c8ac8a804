"""The part of a frame that shows the film, without the bars of a letterbox or a pillar box."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LIT = 95  # percentile of a row's grey levels that speaks for it: dust and noise do not
WIDEST = 0.36  # share of the frame that one bar may take: an upright film in a wide one
UNLIKE = 2  # rows by which the two bars may differ


class AreaFinder:
    """Takes some frames of a film, and finds the picture area of any stretch of them. Keeps a byte for each row and column of those."""

    def __init__(self, bar_level: float) -> None:
        self._bar_level = bar_level
        self._frames: list[int] = []
        self._rows: list[NDArray[np.uint8]] = []
        self._columns: list[NDArray[np.uint8]] = []

    def feed(self, frame: int, picture: NDArray[np.uint8]) -> None:
        """Take frame number `frame`, uint8 [h, w, 3]."""
        grey = picture.max(axis=2)
        self._frames.append(frame)
        self._rows.append(np.percentile(grey, LIT, axis=1, method="lower"))
        self._columns.append(np.percentile(grey, LIT, axis=0, method="lower"))

    def area(self, start: int, end: int) -> tuple[float, float, float, float]:
        """Top, left, bottom, right of the picture in frames start to end - 1, as shares of the frame.

        Bars are what stays black, equally wide on both sides: the dark jumper below a face is none.
        """
        low, high = np.searchsorted(self._frames, [start, end])
        if low == high:
            return 0.0, 0.0, 1.0, 1.0
        shapes = {each.shape for each in (*self._rows[low:high], *self._columns[low:high])}
        if len(shapes) > 2:  # the film changes its size
            return 0.0, 0.0, 1.0, 1.0
        top, bottom = self._edges(np.max(self._rows[low:high], axis=0))
        left, right = self._edges(np.max(self._columns[low:high], axis=0))
        return top, left, bottom, right

    def _edges(self, profile: NDArray[np.uint8]) -> tuple[float, float]:
        lit = np.flatnonzero(profile > self._bar_level)
        if not lit.size:
            return 0.0, 1.0
        before, behind = int(lit[0]), len(profile) - 1 - int(lit[-1])
        width = min(before, behind)
        if not width or abs(before - behind) > UNLIKE or width > WIDEST * len(profile):
            return 0.0, 1.0
        inside = (max(before, behind) + 0.5) / len(profile)  # the edge itself may be half dark
        return inside, 1 - inside
