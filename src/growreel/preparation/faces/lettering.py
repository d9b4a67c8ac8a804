"""Finding titles and credits over a face: thin strokes that stand out, side by side, in the same place through the clip."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STROKE = 9  # pixels, of 128, that a stroke and its edges are thinner than
LEAST, MOST = 4, 40  # rows, of 128, of a letter
LIKE = 1.6  # times that letters of a line may differ in height


def letters(grey: NDArray[np.uint8], contrast: float) -> int:
    """Letters of the longest line of text, bright or dark, that all pictures show.

    Args:
        grey: [n, 128, 128] pictures of one clip, far apart in time.
        contrast: grey levels by which a stroke stands out from the ground that opening (closing, for dark ones) leaves.
    """
    from scipy import ndimage

    best = 0
    for bright in (True, False):
        size = (1, STROKE, STROKE)
        pictures = grey.astype(np.int16)
        ground = ndimage.grey_opening(pictures, size) if bright else ndimage.grey_closing(pictures, size)
        strokes = (np.abs(pictures - ground) > contrast).all(axis=0)
        numbered, _ = ndimage.label(strokes, np.ones((3, 3)))
        boxes = ndimage.find_objects(numbered)
        best = max(best, _longest_line([(rows.start, rows.stop, columns.start, columns.stop) for rows, columns in boxes]))
    return best


def _longest_line(boxes: list[tuple[int, int, int, int]]) -> int:
    """Boxes (top, bottom, left, right) of like height, on one level, next to one another: how many at most."""
    fitting = [box for box in boxes if LEAST <= box[1] - box[0] <= MOST and box[3] - box[2] <= 2 * (box[1] - box[0]) + 2]
    best = 0
    for top, bottom, _, _ in fitting:
        tall = bottom - top
        line = sorted(
            (left, right)
            for above, below, left, right in fitting
            if abs(above + below - top - bottom) <= tall and tall / LIKE <= below - above <= tall * LIKE
        )
        run, end = 0, None
        for left, right in line:
            run = run + 1 if end is not None and left - end <= 1.5 * tall else 1
            end = right
            best = max(best, run)
    return best
