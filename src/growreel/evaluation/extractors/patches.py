"""Patches of Laplacian pyramids (Karras et al. 2017, arXiv 1710.10196, section 5): of frames, or of clips in space and time."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from growreel.errors import GrowreelError
from growreel.growth import Size
from growreel.runtime.randomness import Purpose, keyed_rng

LOWEST = 16
"""The coarsest level has at least so many pixels on its shorter side."""
LEAST_FRAMES = 4
"""A level of a space-time pyramid has at least so many frames; below, only space is halved on."""
PATCH, PATCH_SPACE_TIME = Size(1, 7, 7), Size(3, 7, 7)


def pyramid_levels(size: Size, space_time: bool) -> tuple[Size, ...]:
    """Sizes of the levels, the finest first. Odd extents round up."""
    levels = [size]
    while min(_half(levels[-1].h), _half(levels[-1].w)) >= LOWEST:
        t, h, w = levels[-1]
        halve_time = space_time and _half(t) >= LEAST_FRAMES
        levels.append(Size(_half(t) if halve_time else t, _half(h), _half(w)))
    return tuple(levels)


def laplacian_pyramid(clips_NCTHW: Tensor, levels: Sequence[Size]) -> list[Tensor]:
    """What each level has that the next coarser one has not; the last is what remains. Their sum, scaled up, is the clip.

    Going down is a binomial filter [1 4 6 4 1] / 16 along the axes that are halved, mirrored at the borders, and every second voxel;
    going up puts zeros between and filters with twice the gain.
    """
    bands, current = [], clips_NCTHW
    for fine, coarse in itertools.pairwise(levels):
        axes = [axis for axis in range(3) if fine[axis] != coarse[axis]]
        smaller = current
        for axis in axes:
            smaller = _filter(smaller, axis, step=2)
        larger = smaller
        for axis in axes:
            larger = 2 * _filter(_spread(larger, axis, fine[axis]), axis)
        bands.append(current - larger)
        current = smaller
    return [*bands, current]


def _half(extent: int) -> int:
    return -(-extent // 2)


def _filter(x_NCTHW: Tensor, axis: int, step: int = 1) -> Tensor:
    """The binomial filter along one axis (0 time, 1 height, 2 width), at every `step`-th voxel."""
    dim, extent = axis + 2, x_NCTHW.shape[axis + 2]
    places = torch.arange(-2, extent + 2).abs()  # mirrored without repeating the border
    places = torch.where(places >= extent, 2 * (extent - 1) - places, places).clamp(0, extent - 1)
    padded = x_NCTHW.index_select(dim, places)
    taps = [padded.narrow(dim, k, extent).unfold(dim, 1, step).squeeze(-1) for k in range(5)]
    return ((taps[0] + taps[4]) + 4 * (taps[1] + taps[3]) + 6 * taps[2]) / 16


def _spread(x_NCTHW: Tensor, axis: int, extent: int) -> Tensor:
    """Zeros between the voxels along one axis, to `extent` voxels."""
    shape = list(x_NCTHW.shape)
    shape[axis + 2] = extent
    spread = x_NCTHW.new_zeros(shape)
    spread.index_copy_(axis + 2, torch.arange(0, extent, 2), x_NCTHW)
    return spread


class PyramidPatches:
    """Random patches of every level of a clip's pyramid: rows [n, levels, patches, c, t, h, w], pixel values 0 to 255.

    Patches are 7x7 pixels of a single frame, or, in space and time, 3 frames of 7x7; smaller where a clip is. Their places depend on
    seed, clip number and level alone.
    """

    def __init__(self, size: Size, channels: int, patches: int, space_time: bool, seed: int) -> None:
        self.name = "patches3d" if space_time else "patches"
        self.size, self.channels, self.patches, self.space_time, self.seed = size, channels, patches, space_time, seed
        self.levels = pyramid_levels(size, space_time)
        largest = PATCH_SPACE_TIME if space_time else PATCH
        self.patch = Size(*(min(extent, *(level[axis] for level in self.levels)) for axis, extent in enumerate(largest)))

    def __call__(self, clips: NDArray[np.uint8], numbers: Sequence[int]) -> NDArray[np.float32]:
        if clips.shape[1:] != (*self.size, self.channels) or len(numbers) != len(clips):
            raise GrowreelError(
                f"{len(numbers)} numbers and clips of shape {list(clips.shape)}: patches need one number a clip, and clips of {self.size} "
                f"with {self.channels} channels"
            )
        pixels = torch.from_numpy(np.ascontiguousarray(clips)).movedim(-1, 1).float()
        rows = np.empty((len(clips), len(self.levels), self.patches, self.channels, *self.patch), np.float32)
        for level, band in enumerate(laplacian_pyramid(pixels, self.levels)):
            array = band.numpy()
            windows = np.lib.stride_tricks.sliding_window_view(array, self.patch, axis=(2, 3, 4))  # n c places patch
            for row, number in enumerate(numbers):
                rng = keyed_rng(Purpose.EVALUATION, self.seed, 4, int(number), level)
                t, h, w = (rng.integers(0, places, self.patches) for places in windows.shape[2:5])
                rows[row, level] = windows[row][:, t, h, w].swapaxes(0, 1)
        return rows

    def describe(self) -> dict[str, Any]:
        return {
            "pyramid": "time, height, width" if self.space_time else "height, width",
            "levels": " ".join(map(str, self.levels)),
            "patch": str(self.patch),
            "patches per clip and level": self.patches,
            "seed": self.seed,
            "value range": "0 to 255",
        }
