"""Procedural clips whose truth is known: one disc or square in one of four colours, moving smoothly over a dark ground.

The demo trains on them, and `evaluation.shapes_judge` can tell a good clip from a bad one by rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from growreel.growth import Size

BACKGROUND = 12
COLORS: dict[str, tuple[int, int, int]] = {"red": (255, 50, 50), "green": (50, 255, 50), "blue": (50, 50, 255), "yellow": (255, 255, 50)}
RADIUS = 0.29
"""Half the width of a shape, as a fraction of the shorter side."""
MAX_TRAVEL = 0.25
"""Longest way from first to last frame, as a fraction of the shorter side."""
SUBSAMPLES = 4
"""Each pixel is the average of 4 x 4 points, so edges are smooth and motion is finer than a pixel."""


@dataclass(frozen=True)
class ShapeTrack:
    """The truth of one clip: what moves, in which colour, and the centre (row, column) in pixels for every frame [t, 2]."""

    shape: Literal["disc", "square"]
    color: str
    radius: float
    centers: NDArray[np.float64]


def random_track(rng: np.random.Generator, size: Size) -> ShapeTrack:
    """Draw a shape, a colour, and a gently curved path that keeps the whole shape inside the frame."""
    side = min(size.h, size.w)
    radius = RADIUS * side
    low, high = np.full(2, radius), np.array([size.h, size.w]) - radius
    start = rng.uniform(low, high)
    # The end is drawn near the start and kept inside; the middle of the path is bent sideways a little (quadratic Bezier).
    end = np.clip(start + rng.uniform(-1, 1, 2) * MAX_TRAVEL * side, low, high)
    bend = np.clip((start + end) / 2 + rng.uniform(-1, 1, 2) * 0.1 * side, low, high)
    s = np.linspace(0, 1, size.t)[:, None]
    centers = (1 - s) ** 2 * start + 2 * s * (1 - s) * bend + s**2 * end
    shape: Literal["disc", "square"] = "disc" if rng.random() < 0.5 else "square"
    return ShapeTrack(shape, list(COLORS)[rng.integers(len(COLORS))], radius, centers)


def render(track: ShapeTrack, size: Size) -> NDArray[np.uint8]:
    """Draw a track: uint8 [t, h, w, 3]."""
    rows = (np.arange(size.h * SUBSAMPLES) + 0.5) / SUBSAMPLES
    columns = (np.arange(size.w * SUBSAMPLES) + 0.5) / SUBSAMPLES
    dy = np.abs(rows[None, :, None] - track.centers[:, 0, None, None])
    dx = np.abs(columns[None, None, :] - track.centers[:, 1, None, None])
    if track.shape == "disc":
        inside = dy**2 + dx**2 <= track.radius**2
    else:
        inside = np.maximum(dy, dx) <= track.radius * np.sqrt(np.pi) / 2  # a square of the disc's area
    coverage = inside.reshape(size.t, size.h, SUBSAMPLES, size.w, SUBSAMPLES).mean(axis=(2, 4))[..., None]
    clip = BACKGROUND + coverage * (np.array(COLORS[track.color]) - BACKGROUND)
    drawn: NDArray[np.uint8] = np.rint(clip).astype(np.uint8)
    return drawn


def shape_clips(count: int, size: Size, seed: int = 0) -> Iterator[NDArray[np.uint8]]:
    """Yield `count` clips, uint8 [t, h, w, 3]. Clip k depends on (seed, k) only."""
    for track in _tracks(count, size, seed):
        yield render(track, size)


def shape_kinds(count: int, size: Size, seed: int = 0) -> list[str]:
    """Return what each of the clips of `shape_clips` shows, such as `red disc`."""
    return [f"{track.color} {track.shape}" for track in _tracks(count, size, seed)]


def _tracks(count: int, size: Size, seed: int) -> Iterator[ShapeTrack]:
    return (random_track(np.random.default_rng([seed, k]), size) for k in range(count))
