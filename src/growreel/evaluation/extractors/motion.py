"""How a clip moves, in a few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from growreel.errors import GrowreelError

LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601."""
STATIC_ENERGY = 0.25
"""A clip is static if its frames differ by less than this in the mean square: half a grey level."""
SCALARS = ("energy", "static", "loop")


class MotionStatistics:
    """Rows [n, 3 + t // 2] of clips of at least 2 frames, on luma from 0 to 255:

    * energy: mean squared difference of adjacent frames;
    * static: 1 where the energy is below `STATIC_ENERGY`;
    * loop: how far frames come back to where they were. With D(k) the mean squared difference of frames k apart it is the largest
      1 - D(k) / max(D(1) ... D(k-1)): 0 where frames only move apart, 1 where a clip returns exactly (a loop, a swing there and back);
    * power of each frequency 1 ... t // 2 (cycles per clip), mean over pixels, |DFT|^2 / t^2, so that they sum to about half the
      temporal variance.
    """

    name = "motion"

    def __call__(self, clips: NDArray[np.uint8], numbers: Sequence[int]) -> NDArray[np.float32]:
        if len(clips) < 1 or clips.shape[1] < 2:
            raise GrowreelError(f"clips of shape {list(clips.shape)}: motion needs clips of at least 2 frames")
        return np.stack([_statistics(clip) for clip in clips]).astype(np.float32)

    def describe(self) -> dict[str, Any]:
        return {"pixels": "luma 0 to 255", "static below": STATIC_ENERGY}


def _statistics(clip: NDArray[np.uint8]) -> NDArray[np.float64]:
    luma = clip @ np.array(LUMA) if clip.shape[-1] == 3 else clip[..., 0].astype(np.float64)
    frames = len(luma)
    pixels = luma.reshape(frames, -1)
    apart = [float(((pixels[k:] - pixels[:-k]) ** 2).mean()) for k in range(1, frames)]
    power = (np.abs(np.fft.rfft(pixels - pixels.mean(axis=0), axis=0)) ** 2).mean(axis=1) / frames**2
    return np.array([apart[0], apart[0] < STATIC_ENERGY, _loop(apart), *power[1:]])


def _loop(apart: list[float]) -> float:
    highest, score = apart[0], 0.0
    for distance in apart[1:]:
        if highest > STATIC_ENERGY:  # what a static clip does is noise
            score = max(score, 1 - distance / highest)
        highest = max(highest, distance)
    return score
