"""From pixels of more than eight bits to eight.

A file of 16-bit pixels seldom says how many of the bits its camera filled. The mapping is one number for a whole source: the fewest
bits, from 8 to 16, that hold its brightest value; 0 stays 0, and 2^bits - 1 becomes 255. A picture that uses all 16 bits is scaled
by 255 / 65535; one of a 12-bit camera by 255 / 4095.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from growreel.video.media import Frame

FULL = 16


def bits_for(brightest: int) -> int:
    """The fewest bits, 8 to 16, that hold a value from 0 to 65535."""
    return max(8, int(brightest).bit_length())


def to_8_bits(pixels: NDArray[np.uint16], bits: int = FULL) -> Frame:
    """Scale 0 .. 2^bits - 1 to 0 .. 255, rounded; what is above stays at 255."""
    top = 2**bits - 1
    scaled: NDArray[np.uint32] = (np.minimum(pixels, top).astype(np.uint32) * 255 + top // 2) // top
    return scaled.astype(np.uint8)


def note_of(bits: int) -> str:
    """What the table says about the mapping."""
    return f"16-bit pixels, of which {bits} bits are used: 0 to {2**bits - 1:,} became 0 to 255"
