"""Clips as pictures inside a page: animated WebP, and a still beside it for whoever wants nothing to move."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from growreel.recipe import Recipe
from growreel.video import resize, webp_bytes

LOSSLESS_HEIGHT = 64
"""Clips up to so many rows lose nothing; larger ones would make a page of hundreds of megabytes."""
QUALITY = 84


@dataclass(frozen=True)
class Picture:
    """A clip ready for a template.

    Attributes:
        moving, still: data addresses.
        width, height: in pixels of the clip.
        alt: what a reader who cannot see it is told.
        caption: a word below it, or nothing.
    """

    moving: str
    still: str
    width: int
    height: int
    alt: str
    caption: str = ""


def picture(clip: NDArray[np.uint8], fps: float, alt: str, *, most_rows: int, caption: str = "", recipe: Recipe | None = None) -> Picture:
    """A clip uint8 [t, h, w, c], made smaller if it has more than `most_rows` rows. What is saved from the page still has its recipe."""
    if clip.shape[1] > most_rows:
        height, width = most_rows, round(clip.shape[2] * most_rows / clip.shape[1])
        clip = np.stack([resize(frame, height, width) for frame in clip])
    quality = None if clip.shape[1] <= LOSSLESS_HEIGHT else QUALITY
    middle = clip[len(clip) // 2 :][:1]
    return Picture(
        moving=data_address(webp_bytes(clip, max(fps, 0.5), (recipe and recipe.to_json()) or None, quality)),
        still=data_address(webp_bytes(middle, 1, None, quality)),
        width=clip.shape[2],
        height=clip.shape[1],
        alt=alt,
        caption=caption,
    )


def data_address(webp: bytes) -> str:
    """A WebP file as an address that holds it."""
    return "data:image/webp;base64," + base64.b64encode(webp).decode("ascii")
