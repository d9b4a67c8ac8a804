"""Features without a network: a clip's own pixels, coarse to fine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

GRIDS = ((1, 1, 1), (2, 4, 4), (4, 8, 8), (4, 16, 16))
"""Frames, rows and columns of box averages; no finer than the clip is."""


class PixelFeatures:
    """Rows [n, d]: averages of the clip over grids of boxes, from pixel values -1 to 1.

    Scaled so that |row|^2 / d is the mean square of the averages, every grid having the same weight.
    """

    name = "pixels"

    def __call__(self, clips: NDArray[np.uint8], numbers: Sequence[int]) -> NDArray[np.float32]:
        pixels = torch.from_numpy(np.ascontiguousarray(clips)).movedim(-1, 1).float() / 127.5 - 1
        parts = []
        for grid in GRIDS:
            t, h, w = (min(extent, most) for extent, most in zip(pixels.shape[2:], grid, strict=True))
            boxes = F.adaptive_avg_pool3d(pixels, (t, h, w)).flatten(1)
            parts.append(boxes / (boxes.shape[1] * len(GRIDS)) ** 0.5)
        features = torch.cat(parts, dim=1)
        rows: NDArray[np.float32] = (features * features.shape[1] ** 0.5).numpy()
        return rows

    def describe(self) -> dict[str, Any]:
        return {"features": "box averages", "grids": " ".join("x".join(map(str, grid)) for grid in GRIDS), "value range": "-1 to 1"}
