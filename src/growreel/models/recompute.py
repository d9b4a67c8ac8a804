"""Memory for time: the activations of large blocks are not kept for the backward pass but computed again in it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def run_block(block: nn.Module, x: Tensor, *arguments: Any, when_voxels: int | None, voxels: int) -> Tensor:
    """`block(x, *arguments)`; with `voxels` at or above `when_voxels` only x and the result stay in memory until the backward pass."""
    if when_voxels is None or voxels < when_voxels or not torch.is_grad_enabled():
        result: Tensor = block(x, *arguments)
        return result
    result = checkpoint(block, x, *arguments, use_reentrant=False, preserve_rng_state=False)
    return result
