"""Where shots begin and end: hard cuts, and the frames of dissolves and fades, which belong to no shot."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from growreel.preparation.faces.settings import FaceSettings

GREY = (36, 64)  # rows and columns of the pictures that are compared
REACH = 16  # frames in which a dissolve shows
AROUND = 8  # frames on each side that say what motion is usual


class ShotFinder:
    """Takes the frames of a film one by one and, in the end, says which shot each belongs to. Keeps three numbers a frame."""

    def __init__(self, settings: FaceSettings) -> None:
        self._settings = settings
        self._recent: deque[NDArray[np.float32]] = deque(maxlen=REACH + 1)
        self._steps: deque[NDArray[np.float32]] = deque(maxlen=REACH)
        self._path = np.zeros(GREY, np.float32)
        self._differences: list[float] = []
        self._changes: list[tuple[float, float]] = []  # over REACH frames: difference, and share of the way that it is
        self._begins: list[int] = []

    def feed(self, grey: NDArray[np.float32], begins: bool) -> None:
        """Take the next frame, grey levels [36, 64]. `begins`: it does not follow on the one before."""
        if begins:
            self._begins.append(len(self._differences))
            self._recent.clear()
            self._steps.clear()
            self._path = np.zeros(GREY, np.float32)
        if self._recent:
            step = np.abs(grey - self._recent[-1])
            if len(self._steps) == REACH:
                self._path -= self._steps[0]
            self._steps.append(step)
            self._path += step
            self._differences.append(float(step.mean()))
        else:
            self._differences.append(0.0)
        self._recent.append(grey)
        if len(self._recent) > REACH:
            change = float(np.abs(grey - self._recent[0]).mean())
            self._changes.append((change, change / max(float(self._path.mean()), 1e-3)))
        else:
            self._changes.append((0.0, 0.0))

    def shots(self) -> NDArray[np.int64]:
        """Number of the shot of each frame, from 0 in ascending order; -1 in a dissolve or a fade."""
        count = len(self._differences)
        begins = np.zeros(count, bool)
        begins[[*self._begins, *self._cuts()]] = True
        soft = np.zeros(count, bool)
        since = 0  # frames since the last cut
        for frame, (change, monotony) in enumerate(self._changes):
            since = 0 if begins[frame] else since + 1
            if since >= REACH and change > self._settings.gradual and monotony > self._settings.monotony:
                soft[frame - REACH : frame + 1] = True
        after = np.zeros(count, bool)
        after[1:] = soft[:-1] & ~soft[1:]
        numbers: NDArray[np.int64] = np.cumsum((begins | after) & ~soft) - 1
        return np.where(soft, -1, numbers)

    def _cuts(self) -> list[int]:
        differences = np.array(self._differences)
        cuts = []
        for frame in np.flatnonzero(differences > self._settings.cut).tolist():
            low, high = max(0, frame - AROUND), min(len(differences), frame + AROUND + 1)
            near = np.delete(differences[low:high], frame - low)
            if near.size and differences[frame] > self._settings.cut_ratio * float(np.median(near)):
                cuts.append(frame)
        return cuts
