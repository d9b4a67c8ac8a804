"""The words that everything which reads pictures shares: frames, pictures, what a file is, what went wrong with it."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from growreel.errors import GrowreelError
from growreel.video.pixels import resize

Frame = NDArray[np.uint8]
Colors = Literal[1, 3]
MAX_PIXELS = 2**28  # of one picture: 16,384 x 16,384, or 0.8 GB as RGB; more is a damaged header or an attack
LONGEST_HOLD = 4.0  # times the usual spacing of frames; an interval above it, and above half a second, is a gap
SHORTEST_GAP = 0.5  # seconds
TICK = 1e-4  # seconds, the grain to which intervals are counted


class NotMediaError(GrowreelError):
    """The file is neither a video nor an image that can be read. `claimed`: by its content it should have been one."""

    def __init__(self, message: str, claimed: bool = False) -> None:
        super().__init__(message)
        self.claimed = claimed


class DamagedError(GrowreelError):
    """Data is damaged or missing. It is raised after every frame that could be decoded has been given."""


@dataclass(frozen=True)
class MediaInfo:
    """What a file shows. Height and width are those of the upright first frame.

    Attributes:
        kind: `video` for frames that follow one another, `image` for one still picture.
        fps: frames per second, by the times of the first frames; None for an image.
        pixel_aspect: width of a pixel over its height; 1 for square pixels.
        deep: pixels have more than 8 bits and no range that says what is white (see `depth`).
    """

    kind: Literal["video", "image"]
    height: int
    width: int
    fps: float | None
    pixel_aspect: float = 1.0
    deep: bool = False


class Picture(Protocol):
    """One upright picture, which may not have been converted to RGB yet.

    Attributes:
        height, width: in its own pixels.
        pixel_aspect: width of a pixel over its height.
    """

    @property
    def height(self) -> int: ...

    @property
    def width(self) -> int: ...

    @property
    def pixel_aspect(self) -> float: ...

    def pixels(self) -> Frame:
        """All of it, uint8 [h, w, c]."""
        ...

    def part(self, box: tuple[float, float, float, float], height: int, width: int) -> Frame:
        """The part `box` (top, left, bottom, right) resampled to uint8 [height, width, c], as `resize` does."""
        ...


@dataclass(frozen=True)
class StillPicture:
    """A picture that is an array, uint8 [h, w, c]."""

    array: Frame
    pixel_aspect: float = 1.0

    @property
    def height(self) -> int:
        return int(self.array.shape[0])

    @property
    def width(self) -> int:
        return int(self.array.shape[1])

    def pixels(self) -> Frame:
        return self.array

    def part(self, box: tuple[float, float, float, float], height: int, width: int) -> Frame:
        return resize(self.array, height, width, box)


class Shown(NamedTuple):
    """A picture with the second at which it appears and the seconds for which it stays.

    `begins`: it does not follow on the picture before it (film was lost, or another film begins), so no clip may hold both.
    """

    time: float
    duration: float
    picture: Picture
    begins: bool = False


def _nothing() -> None:
    """For whom no sign of life is wanted."""


@dataclass
class Findings:
    """What reading a source has shown besides its pictures; filled while they are taken.

    Attributes:
        notes: what was odd, in words, each once.
        damaged: something of the source could not be read.
        declared: rates that the file claims, the likeliest first.
        holds: intervals are meant, as in a GIF: a long one is no gap, and the rate is the median.
        timeless: its pictures follow one another at no rate of their own.
        alive: called while work goes on that shows no picture.
    """

    notes: list[str] = field(default_factory=list)
    damaged: bool = False
    declared: list[float] = field(default_factory=list)
    holds: bool = False
    timeless: bool = False
    alive: Callable[[], None] = _nothing
    _intervals: Counter[int] = field(default_factory=Counter)

    def note(self, text: str) -> None:
        """Keep a note, once."""
        if text not in self.notes:
            self.notes.append(text)

    def damage(self, text: str) -> None:
        """Keep a note of damage."""
        self.damaged = True
        self.note(text)

    def count_interval(self, seconds: float) -> None:
        """Take an interval between two frames into the rate."""
        self._intervals[round(seconds / TICK)] += 1

    def fps(self) -> float | None:
        """Frames per second by their times; None where there are none.

        Pauses longer than `LONGEST_HOLD` usual intervals are left out. A rate that the file claims is taken where it is within 2 %.
        """
        intervals = sorted(each for each in self._intervals.elements() if each > 0)  # damage can make frames fall together
        if self.timeless:
            return None
        if not intervals:
            return self.declared[0] if self.declared else None
        middle = statistics.median(intervals)
        if self.holds:
            measured = 1 / (middle * TICK)
        else:
            usual = [each for each in intervals if each <= LONGEST_HOLD * middle]
            measured = 1 / (statistics.fmean(usual) * TICK)
        near = [rate for rate in self.declared if abs(rate / measured - 1) <= 0.02]
        return near[0] if near else round(measured, 3)
