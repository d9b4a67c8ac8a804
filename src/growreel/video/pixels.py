"""Resampling frames and arranging them in grids."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from growreel.ranges import check_range
from growreel.reading.words import plain

if TYPE_CHECKING:
    from PIL.Image import Image


def resize(frame: NDArray[np.uint8], height: int, width: int, box: tuple[float, float, float, float] | None = None) -> NDArray[np.uint8]:
    """Resample the part `box` (top, left, bottom, right; default all) of a frame [h, w, c] to [height, width, c].

    Shrinking averages areas, growing is bicubic. A part that has the size already is copied, not resampled.
    """
    from PIL import Image

    top, left, bottom, right = box or (0, 0, *frame.shape[:2])
    if (bottom - top, right - left) == (height, width):
        top, left = int(top), int(left)
        return np.ascontiguousarray(frame[top : top + height, left : left + width])
    shrinking = bottom - top >= height and right - left >= width
    method = Image.Resampling.BOX if shrinking else Image.Resampling.BICUBIC
    return np.asarray(to_image(frame).resize((width, height), method, box=(left, top, right, bottom))).reshape(height, width, -1)


def on_black(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay pixels [h, w, 4] with opacity on black: uint8 [h, w, 3], rounded."""
    return ((rgba[..., :3].astype(np.uint16) * rgba[..., 3:] + 127) // 255).astype(np.uint8)


def colored(frame: NDArray[np.uint8], colors: int) -> NDArray[np.uint8]:
    """A frame [h, w], or [h, w, c] with c 1, 3 or 4, as [h, w, colors]; grey is luma, what is transparent lies on black."""
    if frame.ndim == 2:
        frame = frame[..., None]
    if frame.shape[2] == 4:
        frame = on_black(frame)
    frame = np.ascontiguousarray(frame)
    if frame.shape[2] == colors:
        return frame
    pixels = np.asarray(to_image(frame).convert("L" if colors == 1 else "RGB"))
    return pixels.reshape(*pixels.shape[:2], colors)


def tile_grid(clips: NDArray[np.uint8], columns: int | None = None) -> NDArray[np.uint8]:
    """Arrange clips [n, t, h, w, c] in a grid [t, rows * h, columns * w, c], row by row; places left over are black.

    `columns` defaults to what makes the grid as square as can be.
    """
    n, t, h, w, c = clips.shape
    columns = columns or min(n, max(1, round(math.sqrt(n * h / w))))
    rows = -(-n // columns)
    padded = np.concatenate([clips, np.zeros((rows * columns - n, t, h, w, c), np.uint8)])
    return padded.reshape(rows, columns, t, h, w, c).transpose(2, 0, 3, 1, 4, 5).reshape(t, rows * h, columns * w, c)


CAPTION_ROWS = 14
"""Height of the strip that `captioned` adds: a line of Pillow's own font."""


def captioned(clips: NDArray[np.uint8], captions: Sequence[str]) -> NDArray[np.uint8]:
    """Put a strip with a line of text above each of the clips [n, t, h, w, c]; what is wider than the clip is cut off."""
    from PIL import Image, ImageDraw, ImageFont

    n, t, _, w, c = clips.shape
    font, strips = ImageFont.load_default(), []
    for caption in captions:
        strip = Image.new("L", (w, CAPTION_ROWS))
        ImageDraw.Draw(strip).text((2, 1), plain(caption), fill=255, font=font)
        strips.append(np.asarray(strip))
    above = np.broadcast_to(np.stack(strips)[:, None, :, :, None], (n, t, CAPTION_ROWS, w, c))
    return np.concatenate([above, clips], axis=2)


def tile_frames(clips: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Arrange clips [n, t, h, w, c] as one picture [1, n * h, t * w, c]: a row per clip, its frames from left to right."""
    n, t, *picture = clips.shape
    return tile_grid(clips.reshape(n * t, 1, *picture), columns=t)


def enlarge(clips: NDArray[np.uint8], scale: int | None = None) -> NDArray[np.uint8]:
    """Repeat the pixels of clips [n, t, h, w, c] `scale` times in both directions; None: up to a height of about 64."""
    scale = max(1, 64 // clips.shape[2]) if scale is None else scale
    check_range("--scale", scale, least=1, most=64)
    return clips.repeat(scale, axis=2).repeat(scale, axis=3)


def to_image(frame: NDArray[np.uint8]) -> Image:
    """A frame [h, w, 1 or 3] as a Pillow image."""
    from PIL import Image

    return Image.fromarray(frame if frame.shape[2] == 3 else frame[..., 0])
