"""The space-time pyramid of a clip: which sizes a store keeps, and their exact box averages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from growreel.growth import Size


def pyramid_sizes(size: Size) -> tuple[Size, ...]:
    """The levels kept for clips of `size`, the full one first.

    Space is halved (height and width together, while both are even and stay >= 2) at least once; each such size also comes
    with time halved any number of times (while even). Fewer frames at full resolution is left out: it would cost the most.
    """
    levels, (t, h, w) = [size], size
    while h % 2 == 0 and w % 2 == 0 and min(h, w) >= 4:
        h, w, frames = h // 2, w // 2, t
        levels.append(Size(frames, h, w))
        while frames % 2 == 0:
            frames //= 2
            levels.append(Size(frames, h, w))
    return tuple(levels)


def pyramid(clips: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Yield the levels of `pyramid_sizes` for a clip [t, h, w, c] or for several [n, t, h, w, c], uint8, in that order.

    Every level is the box average of the full clip, rounded half up. Sums are kept as integers, so halving a level again adds
    no rounding of its own.
    """
    yield clips
    space: NDArray[Any] = clips
    in_space = 1
    while space.shape[-3] % 2 == 0 and space.shape[-2] % 2 == 0 and min(space.shape[-3:-1]) >= 4:
        in_space *= 4
        space = _wide_enough(space, in_space)
        space = space[..., ::2, :, :] + space[..., 1::2, :, :]
        space = space[..., ::2, :] + space[..., 1::2, :]
        sums, in_box = space, in_space
        yield _rounded(sums, in_box)
        while sums.shape[-4] % 2 == 0:
            in_box *= 2
            sums = _wide_enough(sums, in_box)
            sums = sums[..., ::2, :, :, :] + sums[..., 1::2, :, :, :]
            yield _rounded(sums, in_box)


def _wide_enough(sums: NDArray[Any], count: int) -> NDArray[Any]:
    """The sums in the smallest type that holds sums of so many bytes, and half as much again of one for rounding."""
    return sums.astype(np.min_scalar_type(count * 255 + count // 2), copy=False)


def _rounded(sums: NDArray[Any], count: int) -> NDArray[np.uint8]:
    """sums / count, rounded half up."""
    return ((sums + count // 2) // count).astype(np.uint8)


def box_average(clips: NDArray[np.uint8], scale: Size) -> NDArray[np.uint8]:
    """Average clips [n, t, h, w, c] over boxes of `scale`, which divides their size, rounded half up."""
    n, t, h, w, c = clips.shape
    boxes = clips.reshape(n, t // scale.t, scale.t, h // scale.h, scale.h, w // scale.w, scale.w, c)
    return _rounded(boxes.sum(axis=(2, 4, 6), dtype=np.uint32), scale.voxels)
