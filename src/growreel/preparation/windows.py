"""Parts of a picture that clips are cut from: of certain frames of a video, or side by side over large frames."""

from __future__ import annotations

import math
from dataclasses import dataclass

from growreel.growth import Size
from growreel.preparation.cutting import Box
from growreel.video.media import Picture


@dataclass(frozen=True)
class Window:
    """A part of a video.

    Attributes:
        row: of the CSV file, from 1, for messages.
        start, end: seconds, or numbers of frames from 0; the end is not in it.
        in_frames: which of the two.
        x, y, w, h: left, top, width and height, in pixels of the upright picture or in shares of it.
        in_shares: which of the two.
        label: of what is in it, if the file says so.
    """

    row: int
    start: float
    end: float
    x: float
    y: float
    w: float
    h: float
    in_frames: bool = False
    in_shares: bool = False
    label: str | None = None

    def holds(self, frame: int, time: float) -> bool:
        """Whether it has the frame of this number, shown `time` seconds after the first."""
        return self.start <= (frame if self.in_frames else time) < self.end

    def box(self, picture: Picture) -> Box | None:
        """Top, left, bottom, right in the picture's pixels, cut off at its edges; None if less than a pixel is left."""
        across, down = (picture.width, picture.height) if self.in_shares else (1, 1)
        top, left = max(0.0, self.y * down), max(0.0, self.x * across)
        bottom = min(float(picture.height), (self.y + self.h) * down)
        right = min(float(picture.width), (self.x + self.w) * across)
        return (top, left, bottom, right) if bottom - top >= 1 and right - left >= 1 else None


def grid_boxes(picture: Picture, size: Size) -> list[Box]:
    """The fewest parts of the clips' shape, as large as the picture allows, that show all of it: evenly spaced along its longer side.

    Neighbours overlap where its sides do not divide: square clips of a picture of 16:9 are two.
    """
    shape = size.w / size.h / picture.pixel_aspect
    h = min(float(picture.height), picture.width / shape)
    w = h * shape
    rows, columns = (max(1, math.ceil(whole / part - 1e-6)) for whole, part in ((picture.height, h), (picture.width, w)))
    tops = [(picture.height - h) * row / max(1, rows - 1) for row in range(rows)]
    lefts = [(picture.width - w) * column / max(1, columns - 1) for column in range(columns)]
    return [(top, left, top + h, left + w) for top in tops for left in lefts]
