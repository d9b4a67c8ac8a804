"""Where shots begin and end: hard cuts, and the frames of dissolves and fades, which belong to no shot."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from growreel.preparation.faces.settings import FaceSettings

GREY = (36, 64)  # rows and columns of the pictures that are compared
REACH = 16  # frames in which a dissolve shows
AROUND = 8  # frames on each side that say what motion is usual
BESIDE = 3  # frames on each side that say whether a change is alone
LEAST_STEP = 0.5  # grey levels: a film that stands still has steps of 0


class Change(NamedTuple):
    """How a frame differs from that 16 frames before.

    Attributes:
        size: mean difference in grey levels.
        monotony: its share of all changes on the way.
        blend: by how much the frames between are off a mixture of the two, in shares of `size`.
    """

    size: float
    monotony: float
    blend: float

    def is_gradual(self, settings: FaceSettings) -> bool:
        """Whether it is that of a dissolve or a fade."""
        return self.size > settings.gradual and self.monotony > settings.monotony and self.blend < settings.blend


def change_over(frames: Sequence[NDArray[np.float32]], path: float) -> Change:
    """The change from the first of some frames [h, w] to the last; `path` is the mean of all changes on the way."""
    net = frames[-1] - frames[0]
    size = float(np.abs(net).mean())
    if size < 1:
        return Change(size, 0.0, 1.0)
    power, errors = float((net * net).sum()), []
    for quarter in (1, 2, 3):
        part = frames[(len(frames) - 1) * quarter // 4] - frames[0]
        errors.append(float(np.abs(part - float((part * net).sum()) / power * net).mean()) / size)
    return Change(size, size / max(path, 1e-3), max(errors))


class ShotFinder:
    """Takes the frames of a film one by one and, in the end, says which shot each belongs to. Keeps a few numbers a frame."""

    def __init__(self, settings: FaceSettings) -> None:
        self._settings = settings
        self._recent: deque[NDArray[np.float32]] = deque(maxlen=REACH + 1)
        self._steps: deque[NDArray[np.float32]] = deque(maxlen=REACH)
        self._path = np.zeros(GREY, np.float64)
        self._differences: list[float] = []
        self._tones: list[float] = []
        self._gradual: list[bool] = []
        self._begins: list[int] = []

    def feed(self, grey: NDArray[np.float32], begins: bool) -> None:
        """Take the next frame, grey levels [36, 64]. `begins`: it does not follow on the one before."""
        if begins:
            self._begins.append(len(self._differences))
            self._recent.clear()
            self._steps.clear()
            self._path = np.zeros(GREY, np.float64)
        difference = tones = 0.0
        if self._recent:
            step = np.abs(grey - self._recent[-1])
            if len(self._steps) == REACH:
                self._path -= self._steps[0]
            self._steps.append(step)
            self._path += step
            difference = float(step.mean())
            tones = float(np.abs(_histogram(grey) - _histogram(self._recent[-1])).sum()) / 2
        self._differences.append(difference)
        self._tones.append(tones)
        self._recent.append(grey)
        full = len(self._recent) > REACH
        self._gradual.append(full and change_over(self._recent, float(self._path.mean())).is_gradual(self._settings))

    def shots(self) -> NDArray[np.int64]:
        """Number of the shot of each frame, from 0 in ascending order; -1 in a dissolve or a fade."""
        count = len(self._differences)
        begins = np.zeros(count, bool)
        begins[[*self._begins, *self._cuts()]] = True
        soft = np.zeros(count, bool)
        since = 0  # frames since the last cut
        for frame, gradual in enumerate(self._gradual):
            since = 0 if begins[frame] else since + 1
            if gradual and since >= REACH:
                soft[frame - REACH : frame + 1] = True
        after = np.zeros(count, bool)
        after[1:] = soft[:-1] & ~soft[1:]
        numbers: NDArray[np.int64] = np.cumsum((begins | after) & ~soft) - 1
        return np.where(soft, -1, numbers)

    def _cuts(self) -> list[int]:
        differences, settings = np.array(self._differences), self._settings
        cuts = []
        for frame in np.flatnonzero(differences > settings.cut / 2).tolist():
            near = self._near(differences, frame, AROUND)
            beside = self._near(differences, frame, BESIDE)
            sudden = differences[frame] > settings.cut and differences[frame] > settings.cut_ratio * float(np.median(near))
            alone = differences[frame] > settings.cut_alone * max(float(beside.max()), LEAST_STEP)
            if alone or (sudden and self._tones[frame] > settings.cut_tones):
                cuts.append(frame)
        return cuts

    @staticmethod
    def _near(differences: NDArray[np.float64], frame: int, reach: int) -> NDArray[np.float64]:
        low = max(0, frame - reach)
        return np.delete(differences[low : frame + reach + 1], frame - low)


def _histogram(grey: NDArray[np.float32]) -> NDArray[np.float64]:
    """Share of the pixels in each sixteenth of the grey scale."""
    return np.bincount((grey / 16).astype(int).ravel(), minlength=17) / grey.size
