"""Telling a photo in the film, over which the camera pans or into which it zooms, from a face that lives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LAG = 8  # frames between those that are compared
SIDE = 64  # pixels of the pictures that are compared
STEPS = 6  # of Gauss and Newton
SMOOTHINGS = 2  # by 1/4, 1/2, 1/4 on both axes
MARGIN = 6  # pixels at the edges that do not count: what is there may come from outside

Floats = NDArray[np.float64]


def life(grey: NDArray[np.float32]) -> float:
    """How much frames 8 apart differ after the best affine alignment, over their contrast: the largest of all pairs.

    Args:
        grey: grey levels [t, 64, 64]. The first and the last frame are compared where there are not 9.
    """
    lag = min(LAG, len(grey) - 1)
    pairs = [(first, first + lag) for first in range(0, len(grey) - lag, max(1, lag))]
    return max((_difference(_smooth(grey[a]), _smooth(grey[b])) for a, b in pairs), default=0.0)


def _smooth(picture: NDArray[np.float32]) -> Floats:
    """Without the finest detail, which moving by parts of a pixel changes too."""
    smooth: Floats = np.pad(picture.astype(np.float64), SMOOTHINGS, mode="edge")
    for _ in range(SMOOTHINGS):
        smooth = smooth[:-2] / 4 + smooth[1:-1] / 2 + smooth[2:] / 4
        smooth = smooth[:, :-2] / 4 + smooth[:, 1:-1] / 2 + smooth[:, 2:] / 4
    return smooth


def _difference(a: Floats, b: Floats) -> float:
    """Root mean square of a - b after an affine map of b and a gain and an offset of its grey levels, over the contrast of a.

    Lucas and Kanade's least squares: what is left is linear in all eight unknowns near the solution.
    """
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float64)
    inner = (slice(MARGIN, -MARGIN),) * 2
    centre = (SIDE - 1) / 2
    u, v = ((x - centre) / centre)[inner].ravel(), ((y - centre) / centre)[inner].ravel()
    contrast = max(float(a[inner].std()), 1.0)
    way: Floats = np.zeros(6)  # x and y shift, and its change with u and v, in pixels
    best = np.inf
    for _ in range(STEPS):
        dx = way[0] + way[1] * (x - centre) / centre + way[2] * (y - centre) / centre
        dy = way[3] + way[4] * (x - centre) / centre + way[5] * (y - centre) / centre
        moved = _sample(b, y + dy, x + dx)
        gy, gx = (np.asarray(each, np.float64)[inner].ravel() for each in np.gradient(moved))
        target, now = a[inner].ravel(), moved[inner].ravel()
        system = np.stack([gx, gx * u, gx * v, gy, gy * u, gy * v, now, np.ones_like(now)], axis=1)
        solution = np.linalg.lstsq(system, target, rcond=None)[0]
        light = np.stack([now, np.ones_like(now)], axis=1)
        left = target - light @ np.linalg.lstsq(light, target, rcond=None)[0]
        best = min(best, float(np.sqrt((left**2).mean())) / contrast)
        way = way + solution[:6] / max(0.25, float(solution[6]))
    return best


def _sample(picture: Floats, y: Floats, x: Floats) -> Floats:
    """Bilinear values of a picture at places; those outside are its edge's."""
    y, x = np.clip(y, 0, SIDE - 1.001), np.clip(x, 0, SIDE - 1.001)
    top, left = y.astype(int), x.astype(int)
    fy, fx = y - top, x - left
    above = picture[top, left] * (1 - fx) + picture[top, left + 1] * fx
    below = picture[top + 1, left] * (1 - fx) + picture[top + 1, left + 1] * fx
    mixed: Floats = above * (1 - fy) + below * fy
    return mixed
