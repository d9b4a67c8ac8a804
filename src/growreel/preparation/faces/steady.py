"""From what a track has seen, every few frames and a little off each time, to a window that follows the head steadily."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from growreel.preparation.faces.detectors import Framing
from growreel.preparation.faces.tracks import Track

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Steady:
    """The windows of a track, a row for each frame from its first to its last.

    Attributes:
        start: number of the first frame.
        windows: [n, 3]: y and x of the centre, and side, in pixels of the picture that the detector saw.
        shape: height and width of that picture.
        looks: [m] numbers of the frames that were looked at.
        seen: [m, 3] windows as each look alone would have them.
        eyes: [m, 2] distance in heights of the face and tilt in degrees; not a number where the detector does not say.
        heights: [m] of the face's box, in the same pixels.
        scores: [m] confidence.
    """

    start: int
    windows: Floats
    shape: tuple[int, int]
    looks: NDArray[np.int64]
    seen: Floats
    eyes: Floats
    heights: Floats
    scores: Floats

    def at(self, first: int, last: int) -> NDArray[np.bool_]:
        """Which looks lie in the frames first to last."""
        return (self.looks >= first) & (self.looks <= last)


def steady(track: Track, framing: Framing, side: float, smoothing: float) -> Steady:
    """Windows of a track: medians of three looks, lines between them, and a Gaussian over time.

    Args:
        track: at least one sighting.
        framing: of the detector.
        side: factor of the framing's side.
        smoothing: standard deviation of the Gaussian, in frames.
    """
    faces = [each.face for each in track.sightings]
    looks = np.array([each.frame for each in track.sightings])
    seen = np.array(
        [(face.top + (0.5 + framing.below) * face.height, face.left + face.width / 2, side * framing.side * face.height) for face in faces]
    )
    frames = np.arange(looks[0], looks[-1] + 1)
    calm = _median_of_three(seen)
    lines = np.stack([np.interp(frames, looks, column) for column in calm.T], axis=1)
    windows = np.stack([_gaussian(column, smoothing) for column in lines.T], axis=1)
    eyes = np.full((len(faces), 2), np.nan)
    for place, face in enumerate(faces):
        if face.eyes is not None:
            dx, dy = face.eyes[2] - face.eyes[0], face.eyes[3] - face.eyes[1]
            eyes[place] = math.hypot(dx, dy) / face.height, math.degrees(math.atan2(dy, dx))
    heights, scores = np.array([face.height for face in faces]), np.array([face.score for face in faces])
    return Steady(int(looks[0]), windows, track.sightings[0].shape, looks, seen, eyes, heights, scores)


def jitter_of(windows: Floats) -> float:
    """Root mean square of the second differences of windows [n, 3] over sqrt 6, in shares of the side.

    That is the standard deviation of independent errors of centre and side from frame to frame; steady motion has none.
    """
    if len(windows) < 3:
        return 0.0
    return float(np.sqrt((np.diff(windows, 2, axis=0) ** 2).mean() / 6) / windows[:, 2].mean())


def _median_of_three(values: Floats) -> Floats:
    padded = np.concatenate([values[:1], values, values[-1:]])
    medians: Floats = np.median([padded[:-2], padded[1:-1], padded[2:]], axis=0)
    return medians


def _gaussian(values: Floats, sigma: float) -> Floats:
    """Smooth a line; beyond its ends it goes on straight, so that a head that moves steadily is not held back there."""
    reach = math.ceil(3 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    # Point reflection at the ends, as far as there are values to reflect.
    before = 2 * values[0] - values[np.minimum(np.arange(reach, 0, -1), len(values) - 1)]
    behind = 2 * values[-1] - values[np.maximum(len(values) - 1 - np.arange(1, reach + 1), 0)]
    return np.convolve(np.concatenate([before, values, behind]), kernel / kernel.sum(), "valid")
