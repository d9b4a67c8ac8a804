"""A judge by rule for clips of the procedural shapes: is this one connected blob, of one of the four colours, moving continuously?

It knows nothing of the network. Its limits come from how `data.shapes` draws:
real clips pass practically always, noise and smears do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from growreel.data.shapes import COLORS, MAX_TRAVEL, RADIUS

FOREGROUND = 128
"""A pixel belongs to the blob if its brightest channel reaches this; half way between ground and every colour."""
AREA_RANGE = (0.5, 1.6)
"""Allowed blob area in every frame, as a multiple of the true area."""
COLOR_TOLERANCE = min(float(np.linalg.norm(np.subtract(a, b))) for a, b in combinations(COLORS.values(), 2)) / 2
"""Allowed distance in RGB (0-255 each) of the blob's mean colour from the palette's, in every frame: half of what separates the two
nearest colours (red and yellow, 205), so that no mean is within reach of two."""
CORE_PURITY = 0.75
"""Least share of a clip's bright pixels whose nearest palette colour is the clip's own."""
STEP_MARGIN = 0.04
"""Allowed movement between frames beyond the fastest real one, as a fraction of the shorter side."""
JITTER = 0.07
"""Allowed change of that movement from frame to frame, as a fraction of the shorter side (real paths bend gently)."""


@dataclass(frozen=True)
class Verdict:
    """Which rules each of n clips passes, bool [n] each; `accepted` is all of them together.

    `color` [n] is the number of the nearest palette colour, also of clips that are refused: variety is not judged, only shown.
    """

    one_blob: NDArray[np.bool_]
    right_color: NDArray[np.bool_]
    continuous: NDArray[np.bool_]
    color: NDArray[np.intp]

    @property
    def accepted(self) -> NDArray[np.bool_]:
        return self.one_blob & self.right_color & self.continuous


def judge(clips: NDArray[np.uint8]) -> Verdict:
    """Judge clips, uint8 [n, t, h, w, 3].

    * one blob: in every frame the bright pixels are connected (8 neighbours), and their number is near the true area;
    * right colour: in every frame the blob's mean is near the same palette colour, and most bright pixels agree with it;
    * continuous: the blob's centre moves no further between frames than a real one may, and neither jumps nor jitters.
    """
    _, t, h, w, _ = clips.shape
    side = min(h, w)
    mask = clips.max(axis=-1) >= FOREGROUND  # n t h w
    area = mask.sum(axis=(2, 3))
    true_area = np.pi * (RADIUS * side) ** 2
    sized = ((area >= AREA_RANGE[0] * true_area) & (area <= AREA_RANGE[1] * true_area)).all(axis=1)
    one_blob = sized & _connected(mask).all(axis=1)

    weights = mask / np.maximum(area, 1)[..., None, None]
    means = np.einsum("nthw,nthwc->ntc", weights, clips.astype(np.float64))
    palette = np.array(list(COLORS.values()), np.float64)
    distances = np.linalg.norm(means[:, :, None] - palette, axis=-1)  # n t colours
    color = distances.sum(axis=1).argmin(axis=-1)
    near = np.take_along_axis(distances, color[:, None, None], axis=-1)[..., 0] <= COLOR_TOLERANCE
    nearest = np.linalg.norm(clips[..., None, :].astype(np.float32) - palette.astype(np.float32), axis=-1).argmin(axis=-1)
    agree = ((nearest == color[:, None, None, None]) & mask).sum(axis=(1, 2, 3)) >= CORE_PURITY * mask.sum(axis=(1, 2, 3))
    right_color = near.all(axis=1) & agree

    rows = np.einsum("nthw,h->nt", weights, np.arange(h, dtype=np.float64))
    columns = np.einsum("nthw,w->nt", weights, np.arange(w, dtype=np.float64))
    velocity = np.diff(np.stack([rows, columns], axis=-1), axis=1)  # n t-1 2
    fastest = (2 * MAX_TRAVEL / max(t - 1, 1) + STEP_MARGIN) * side
    steps_ok = (np.linalg.norm(velocity, axis=-1) <= fastest).all(axis=1)
    jitter_ok = (np.linalg.norm(np.diff(velocity, axis=1), axis=-1) <= JITTER * side).all(axis=1)
    return Verdict(one_blob, right_color, steps_ok & jitter_ok, color)


def _connected(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether the true pixels of each [h, w] picture of [n, t, h, w] hang together: grow from one of them and see if all are reached."""
    n, t, h, w = mask.shape
    pictures = mask.reshape(n * t, h, w)
    starts = np.zeros((n * t, h * w), bool)
    starts[np.arange(n * t), mask.reshape(n * t, h * w).argmax(axis=1)] = True
    reached = starts.reshape(n * t, h, w) & pictures
    while True:
        padded = np.pad(reached, ((0, 0), (1, 1), (1, 1)))
        grown = np.zeros_like(reached)
        for dy in range(3):
            for dx in range(3):
                grown |= padded[:, dy : dy + h, dx : dx + w]
        grown &= pictures
        if (grown == reached).all():
            whole: NDArray[np.bool_] = (reached == pictures).all(axis=(1, 2)) & pictures.any(axis=(1, 2))
            return whole.reshape(n, t)
        reached = grown
