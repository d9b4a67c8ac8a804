"""From decoded frames to clips: where a frame is cropped or padded, and which frames make a clip."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from growreel.growth import Size
from growreel.video import resize

Fit = Literal["crop", "pad"]
FITS: tuple[str, ...] = get_args(Fit)


def fit_frame(frame: NDArray[np.uint8], height: int, width: int, fit: Fit, pixel_aspect: float = 1.0) -> NDArray[np.uint8]:
    """Bring a frame [h, w, c] to [height, width, c] in one resampling, keeping the shape of things.

    `crop` fills the target and cuts off what stands out, equally on both sides; `pad` shows all of the frame on black. Pixels that
    are not square (`pixel_aspect` = width over height) are made so. A frame that needs no scaling is not resampled.
    """
    h, w = frame.shape[:2]
    if fit == "crop":
        # The largest part of the frame, in its own pixels, that has the target's shape.
        part_h = min(float(h), w * pixel_aspect * height / width)
        part_w = min(float(w), h * width / height / pixel_aspect)
        top, left = (h - part_h) / 2, (w - part_w) / 2
        return resize(frame, height, width, (top, left, top + part_h, left + part_w))
    scale = min(height / h, width / (w * pixel_aspect))
    inner_h = min(height, max(1, round(h * scale)))
    inner_w = min(width, max(1, round(w * pixel_aspect * scale)))
    padded = np.zeros((height, width, frame.shape[2]), np.uint8)
    top, left = (height - inner_h) // 2, (width - inner_w) // 2
    padded[top : top + inner_h, left : left + inner_w] = resize(frame, inner_h, inner_w)
    return padded


class ClipCutter:
    """Cuts one stream of frames into clips, keeping only the frames of clips that are not full yet.

    Clip k starts at frame k * clip_stride and takes every `frame_stride`-th frame until it has size.t of them.

    Attributes:
        clips: clips cut so far.
        frames: frames fed so far.
    """

    def __init__(
        self, size: Size, *, frame_stride: int, clip_stride: int, fit: Fit, max_clips: int | None = None, pixel_aspect: float = 1.0
    ) -> None:
        self.size, self.frame_stride, self.clip_stride, self.fit = size, frame_stride, clip_stride, fit
        self.max_clips, self.pixel_aspect = max_clips, pixel_aspect
        self.clips = 0
        self.frames = 0
        self._begun = 0
        self._growing: dict[int, list[NDArray[np.uint8]]] = {}

    @property
    def done(self) -> bool:
        """Whether no frame can add a clip any more."""
        return self._begun == self.max_clips and not self._growing

    def feed(self, frame: NDArray[np.uint8]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Take the next frame [h, w, c]; yield the first frame's number and the clip [t, h, w, c] that it completes, if any."""
        number, self.frames = self.frames, self.frames + 1
        if number % self.clip_stride == 0 and self._begun != self.max_clips:
            self._growing[number] = []
            self._begun += 1
        wanted = [start for start in self._growing if (number - start) % self.frame_stride == 0]
        if not wanted:
            return
        fitted = fit_frame(frame, self.size.h, self.size.w, self.fit, self.pixel_aspect)
        for start in wanted:
            self._growing[start].append(fitted)
            if len(self._growing[start]) == self.size.t:
                self.clips += 1
                yield start, np.stack(self._growing.pop(start))
