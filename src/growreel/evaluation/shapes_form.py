"""What the judge by rule leaves open: is the blob a clear disc or a clear square, and do the clips show everything that real ones show?

Like `shapes_judge` it knows nothing of the network: the rules come from how `data.shapes` draws. A pixel's brightness there says how much
of it the shape covers, so widths and areas are known to fractions of a pixel, and softer edges do not turn a square into a disc.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from growreel.data.shapes import BACKGROUND, COLORS, RADIUS
from growreel.evaluation.shapes_judge import AREA_RANGE, FOREGROUND

FORMS = ("disc", "square", "unclear")
FILLED = (np.pi / 4, 1.0)
"""Share of its box that a disc and a square fill."""
CORNERS = (0.0, 1.0)
"""What `Outlines.corners` is for a disc and for a square that stands upright."""
NEAR = 0.25
"""Allowed distance from a form in both of these, as a fraction of what separates the two forms: nearer to one than to the middle."""
STRETCH = (9**2 - 8**2) / (9**2 + 8**2)
"""Allowed `Outlines.stretch`, that of 9 to 8: a pixel more one way than the other in a frame of 16, where a shape covers eight or nine."""
STEEPNESS = 0.25
"""Least `Outlines.steepness`: half of what a sharp edge has that runs through the middle of a pixel."""


@dataclass(frozen=True)
class Outlines:
    """What is measured of the blob in every frame of n clips; shares, corners and centres are nan where a frame has no bright pixel.

    * `area` [n, t]: covered pixels, as a multiple of the true area;
    * `filled` [n, t]: the area as a share of the box, whose sides are the longest row and the longest column of the blob,
      gaps included;
    * `stretch` [n, t]: size of the mean of z^2 over the mean of |z|^2, z = x + iy from the blob's centre: 0 for both forms, and
      (a^2 - b^2) / (a^2 + b^2) if they are drawn out to lengths a and b in any direction;
    * `steepness` [n, t]: what coverage gains or loses from one pixel to the next where an edge is steepest, at the softest of the four ends
      of the longest row and column: 0.5 to 1 for sharp edges, 1 / d for an edge that is smeared over d pixels;
    * `corners` [n, t], complex: the mean of z^4 over the mean of |z|^4, divided by its value for an upright square, -3/7.
      It is 0 for a disc, 1 for an upright square and exp(4ia) for one turned by the angle a;
    * `centers` [n, t, 2]: row and column of the blob's centre in pixels, of which the first begins at 0 and ends at 1.
    """

    area: NDArray[np.float64]
    filled: NDArray[np.float64]
    stretch: NDArray[np.float64]
    steepness: NDArray[np.float64]
    corners: NDArray[np.complex128]
    centers: NDArray[np.float64]


def outlines(clips: NDArray[np.uint8]) -> Outlines:
    """Measure the blob in every frame of clips, uint8 [n, t, h, w, 3]."""
    n, t, h, w, _ = clips.shape
    frames = clips.reshape(n * t, h, w, 3).max(axis=-1)
    brightness, near = _brightness(frames)
    coverage = brightness * near
    width, height = _without_gaps(coverage).sum(axis=2), _without_gaps(coverage.swapaxes(1, 2)).sum(axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        rows, columns = coverage.sum(axis=2), coverage.sum(axis=1)
        area = rows.sum(axis=1)
        y, x = np.arange(h) + 0.5, np.arange(w) + 0.5
        centers = np.stack([rows @ y, columns @ x], axis=-1) / area[:, None]
        dy, dx = y - centers[:, :1], x - centers[:, 1:]
        along_y, along_x = (rows * dy**2).sum(axis=1), (columns * dx**2).sum(axis=1)
        fourth = (rows * dy**4).sum(axis=1) + (columns * dx**4).sum(axis=1)
        mixed = {(i, j): np.einsum("fhw,fh,fw->f", coverage, dy**i, dx**j, optimize=True) for i, j in ((1, 1), (2, 2), (1, 3), (3, 1))}
        stretch = np.abs(along_x - along_y + 2j * mixed[1, 1]) / (along_x + along_y)
        corners = (fourth - 6 * mixed[2, 2] + 4j * (mixed[1, 3] - mixed[3, 1])) / (fourth + 2 * mixed[2, 2]) / (-3 / 7)
        filled = area / (width.max(axis=1) * height.max(axis=1))
    each = np.arange(n * t)
    longest = brightness[each, width.argmax(axis=1)], brightness[each, :, height.argmax(axis=1)]  # with all of a soft edge
    steps = [np.diff(line, axis=1, prepend=0, append=0) for line in longest]
    steepness = np.min([np.minimum(step.max(axis=1), -step.min(axis=1)) for step in steps], axis=0)
    true_area = np.pi * (RADIUS * min(h, w)) ** 2
    area, filled, stretch, steepness = (values.reshape(n, t) for values in (area / true_area, filled, stretch, steepness))
    return Outlines(area, filled, stretch, steepness, corners.reshape(n, t), centers.reshape(n, t, 2))


def forms(measured: Outlines) -> NDArray[np.intp]:
    """The form of each clip [n], as its number in FORMS. A clip is a disc or a square if it is one in every frame:

    * its area is one that the judge allows, it is not drawn out in any direction, and its edges are not smeared;
    * the share of the box that is filled is nearer to that of the form than to the middle between the forms;
    * and so are the corners. A square that is turned by 4 degrees is unclear, and so is one with round corners.
    """
    sound = (measured.area >= AREA_RANGE[0]) & (measured.area <= AREA_RANGE[1])
    sound &= (measured.stretch <= STRETCH) & (measured.steepness >= STEEPNESS)
    filled_near, corners_near = NEAR * (FILLED[1] - FILLED[0]), NEAR * (CORNERS[1] - CORNERS[0])
    form = np.full(len(sound), FORMS.index("unclear"))
    for k, (filled, corners) in enumerate(zip(FILLED, CORNERS, strict=True)):
        near = (np.abs(measured.filled - filled) <= filled_near) & (np.abs(measured.corners - corners) <= corners_near)
        form[(sound & near).all(axis=1)] = k
    return form


@dataclass(frozen=True)
class Variety:
    """How many clips there are of each kind: `counts` [colours, forms, 2, 2], by the numbers in COLORS and FORMS and by the quarter of the
    frame (lower or not, right or not) in which the blob's centre is on average.
    """

    counts: NDArray[np.intp]

    @property
    def forms(self) -> dict[str, float]:
        """Return the share of clips of each form."""
        return dict(zip(FORMS, (self.counts.sum(axis=(0, 2, 3)) / self.counts.sum()).tolist(), strict=True))

    @property
    def clear_form(self) -> float:
        """Share of clips whose form is clear."""
        return 1 - self.forms["unclear"]

    @property
    def colors(self) -> dict[str, float]:
        """Return the share of clips of each colour."""
        return dict(zip(COLORS, (self.counts.sum(axis=(1, 2, 3)) / self.counts.sum()).tolist(), strict=True))

    @property
    def distance(self) -> float:
        """Total variation distance from the law of real clips, 0 to 1: the share of clips that would have to be of another kind.

        `data.shapes.random_track` draws colour and form evenly and independently, and paths as likely in one quarter as in another. So all
        32 clear kinds are equally likely, and no sample of real clips is needed. Unclear clips have no real counterpart and count in full.
        """
        return _distance(self.counts[None, :, :-1].reshape(1, -1), int(self.counts.sum())).item()


def variety(clips: NDArray[np.uint8], colors: NDArray[np.intp]) -> Variety:
    """Count the kinds of clips, uint8 [n, t, h, w, 3], whose colours [n] are known (`Verdict.color`)."""
    measured = outlines(clips)
    middle = np.array(clips.shape[2:4]) / 2
    quarter = (measured.centers.mean(axis=1) > middle).astype(np.intp)
    counts = np.zeros((len(COLORS), len(FORMS), 2, 2), np.intp)
    np.add.at(counts, (colors, forms(measured), quarter[:, 0], quarter[:, 1]), 1)
    return Variety(counts)


def variety_floor(count: int) -> tuple[float, float]:
    """`Variety.distance` of as many real clips, which is above 0 by chance: its mean, and what 95 of 100 such sets stay below.

    From 10,000 drawn sets, always the same ones.
    """
    kinds = len(COLORS) * (len(FORMS) - 1) * 4
    drawn = np.random.default_rng(0).multinomial(count, np.full(kinds, 1 / kinds), size=10_000)
    distances = _distance(drawn, count)
    return float(distances.mean()), float(np.quantile(distances, 0.95))


def _distance(counts: NDArray[np.intp], count: int) -> NDArray[np.float64]:
    """Total variation distance of sets of `count` clips, given by their counts [sets, clear kinds], from equally likely clear kinds."""
    shares = counts / count
    distance: NDArray[np.float64] = np.maximum(1 / counts.shape[1] - shares, 0).sum(axis=1)
    return distance


def _brightness(frames: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """How much of every pixel [f, h, w] is covered, 0 to 1, going by its brightness; and which pixels belong to the blob.

    A whole pixel is as bright as the pixels inside the blob are on average (in real clips 255). To the blob belong bright pixels and their
    neighbours, which is all that a sharp edge covers, so that the ground's noise stays out.
    """
    mask = frames >= FOREGROUND
    near, inside = mask, mask
    for axis in (1, 2):
        near = near | _shifted(near, axis, 1) | _shifted(near, axis, -1)
        inside = inside & _shifted(inside, axis, 1) & _shifted(inside, axis, -1)
    inside = np.where(inside.any(axis=(1, 2), keepdims=True), inside, mask)
    counted = np.maximum(inside.sum(axis=(1, 2)), 1)
    full = np.maximum(np.where(inside, frames, 0).sum(axis=(1, 2)) / counted, FOREGROUND)
    covered = (frames - float(BACKGROUND)) / (full - BACKGROUND)[:, None, None]
    return np.clip(covered, 0, 1), near


def _without_gaps(coverage: NDArray[np.float64]) -> NDArray[np.float64]:
    """The coverage [f, h, w] with the gaps of every row filled, so that a row is as long as from its first covered point to its last."""
    from_left = np.maximum.accumulate(coverage, axis=2)
    from_right = np.maximum.accumulate(coverage[..., ::-1], axis=2)[..., ::-1]
    return np.where(coverage < 0.5, np.minimum(from_left, from_right), coverage)  # what is covered keeps its value: noise is no gap


def _shifted(mask: NDArray[np.bool_], axis: int, by: int) -> NDArray[np.bool_]:
    """The mask moved by one pixel; what comes in from outside is false."""
    moved = np.roll(mask, by, axis)
    edge = [slice(None)] * mask.ndim
    edge[axis] = slice(0, 1) if by > 0 else slice(-1, None)
    moved[tuple(edge)] = False
    return moved
