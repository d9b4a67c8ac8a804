"""From the networks' range to bytes."""

from __future__ import annotations

import torch
from torch import Tensor


def to_levels(clips_NCTHW: Tensor) -> Tensor:
    """Network range -1 to 1 (clamped) to uint8 [n, t, h, w, c], rounded to nearest."""
    levels = (clips_NCTHW.float().clamp(-1, 1) + 1) * 127.5
    return levels.round().to(torch.uint8).movedim(1, -1)
