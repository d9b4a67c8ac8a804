"""Adam as the paper's code had it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn


class ReleasedAdam(torch.optim.Adam):
    """Adam that adds eps to the root of the second moment before that is corrected for its bias, as TensorFlow does; PyTorch does it after.

    So eps counts for 1 / sqrt(1 - beta2^k) times as much in step k after a reset: ten times in the first, with a beta2 of 0.99. What that
    changes are the first updates of parameters whose gradients are as small as eps: 18 % for gradients of 1e-6.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], *, betas: tuple[float, float], eps: float) -> None:
        super().__init__(parameters, betas=betas, eps=eps, fused=True)
        self._steps = 0

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all parameters that have a gradient, once."""
        self._steps += 1
        settings = [group["eps"] for group in self.param_groups]
        for group in self.param_groups:
            group["eps"] /= math.sqrt(1 - group["betas"][1] ** self._steps)
        try:
            return super().step(closure)
        finally:
            for group, eps in zip(self.param_groups, settings, strict=True):
                group["eps"] = eps

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Bring back a state as any optimiser does. The number of steps is the most that a parameter has had."""
        super().load_state_dict(state_dict)
        self._steps = max((int(each["step"]) for each in self.state.values()), default=0)
