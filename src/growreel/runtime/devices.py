"""Devices that can sample but are not trained on."""

from __future__ import annotations

import torch

from growreel.errors import GrowreelError


def check_trainable(device: torch.device, flag: str) -> None:
    """Raise GrowreelError, naming `flag`, for a device that lacks something that training needs."""
    if device.type == "mps":
        raise GrowreelError(
            f"{flag} {device}: training needs float64 (the orthogonal matrices of the loss are restored in it) and transposed 3-D "
            "convolutions, which this kind of device does not have; use cpu"
        )
