"""From pictures to clips: where a picture is cropped or padded, and which pictures make a clip."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from growreel.growth import Size
from growreel.video.media import Frame, Picture

Fit = Literal["crop", "pad"]
FITS: tuple[str, ...] = get_args(Fit)

Box = tuple[float, float, float, float]


def fit_picture(picture: Picture, height: int, width: int, fit: Fit, tile: Box | None = None) -> Frame:
    """Bring a picture, or the part `tile` (top, left, bottom, right) of it, to [height, width, c] in one resampling.

    The shape of things is kept: `crop` fills the target and cuts off what stands out, equally on both sides; `pad` shows all on black.
    Pixels that are not square are made so. A picture that needs no scaling is not resampled.
    """
    above, before, below, after = tile or (0, 0, picture.height, picture.width)
    h, w, aspect = below - above, after - before, picture.pixel_aspect
    if fit == "crop":
        # The largest part of the picture, in its own pixels, that has the target's shape.
        part_h = min(float(h), w * aspect * height / width)
        part_w = min(float(w), h * width / height / aspect)
        top, left = above + (h - part_h) / 2, before + (w - part_w) / 2
        return picture.part((top, left, top + part_h, left + part_w), height, width)
    scale = min(height / h, width / (w * aspect))
    inner_h = min(height, max(1, round(h * scale)))
    inner_w = min(width, max(1, round(w * aspect * scale)))
    inner = picture.part((above, before, below, after), inner_h, inner_w)
    padded = np.zeros((height, width, inner.shape[2]), np.uint8)
    top, left = (height - inner_h) // 2, (width - inner_w) // 2
    padded[top : top + inner_h, left : left + inner_w] = inner
    return padded


class ClipCutter:
    """Cuts one stream of pictures into clips, keeping only the frames of clips that are not full yet.

    In each run of pictures that follow on one another, clip k starts at picture k * clip_stride and takes every `frame_stride`-th one
    until it has size.t of them. A picture that no clip takes is never converted.

    Attributes:
        clips: clips cut so far.
        frames: pictures fed so far.
        longest: pictures of the longest run so far.
    """

    def __init__(self, size: Size, *, frame_stride: int, clip_stride: int, fit: Fit, max_clips: int | None = None) -> None:
        self.size, self.frame_stride, self.clip_stride, self.fit, self.max_clips = size, frame_stride, clip_stride, fit, max_clips
        self.clips = 0
        self.frames = 0
        self.longest = 0
        self._run = 0
        self._begun = 0
        self._growing: dict[int, list[Frame]] = {}
        self._last: tuple[Picture, Frame] | None = None

    @property
    def done(self) -> bool:
        """Whether no picture can add a clip any more."""
        return self.clips == self.max_clips

    def feed(self, picture: Picture, begins: bool = False, tile: Box | None = None) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Take the next picture; yield the first one's number and the clip [t, h, w, c] that it completes, if any.

        `begins`: it does not follow on the one before; clips that are not full are dropped. `tile`: the part of it to take.
        """
        number, self.frames = self.frames, self.frames + 1
        if begins:
            self._begun -= len(self._growing)
            self._growing.clear()
            self._run = number
        self.longest = max(self.longest, number - self._run + 1)
        if (number - self._run) % self.clip_stride == 0 and self._begun != self.max_clips:
            self._growing[number] = []
            self._begun += 1
        wanted = [start for start in self._growing if (number - start) % self.frame_stride == 0]
        if not wanted:
            return
        if self._last is None or self._last[0] is not picture:  # a constant rate gives the same picture several times
            self._last = picture, fit_picture(picture, self.size.h, self.size.w, self.fit, tile)
        for start in wanted:
            self._growing[start].append(self._last[1])
            if len(self._growing[start]) == self.size.t:
                self.clips += 1
                yield start, np.stack(self._growing.pop(start))
