"""Cutting a window out of a frame, smoothly enough that it does not tremble when it moves by parts of a pixel."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from growreel.video.media import Frame, Picture
from growreel.video.pixels import to_image

AROUND = 8  # pixels of the frame beside the window that the filter may ask for; more where it shrinks much


def crop(picture: Picture, box: NDArray[np.float64], height: int, width: int) -> Frame:
    """The window `box` (top, left, bottom, right, as shares of the picture) as uint8 [height, width, c]; black outside of the picture.

    Always by bicubic filtering over all pixels it covers, in the exact place. `Picture.part` is faster, but moves the edges to whole
    pixels, by up to a quarter of a target pixel.
    """
    from PIL import Image

    pixels = picture.pixels()
    h, w, c = pixels.shape
    top, left, bottom, right = (box * (h, w, h, w)).tolist()
    margin_y, margin_x = (AROUND + math.ceil(2 * (b - a) / n) for a, b, n in ((top, bottom, height), (left, right, width)))
    y0, y1 = math.floor(top) - margin_y, math.ceil(bottom) + margin_y
    x0, x1 = math.floor(left) - margin_x, math.ceil(right) + margin_x
    part = pixels[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)]
    above, before = min(max(0, -y0), y1 - y0), min(max(0, -x0), x1 - x0)
    below, behind = y1 - y0 - above - part.shape[0], x1 - x0 - before - part.shape[1]
    part = np.pad(part, ((above, below), (before, behind), (0, 0)))
    image = to_image(np.ascontiguousarray(part)).resize(
        (width, height), Image.Resampling.BICUBIC, box=(left - x0, top - y0, right - x0, bottom - y0)
    )
    return np.asarray(image).reshape(height, width, c)
