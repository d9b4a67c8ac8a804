"""Notice a step that went wrong, before it is saved."""

from __future__ import annotations

import math

from growreel.errors import GrowreelError

MAX_ROLLBACKS = 3


class Diverged(Exception):
    """A loss is not finite or beyond the limit; the message says which and what it was."""


def check_step(losses: dict[str, float], limit: float) -> None:
    """Raise Diverged if any value is NaN, infinite, or larger in size than `limit`."""
    for name, value in losses.items():
        if not math.isfinite(value) or abs(value) > limit:
            raise Diverged(f"{name} is {value:g}")


class RollbackBudget:
    """Counts rollbacks of this process; the fourth divergence ends the run."""

    def __init__(self) -> None:
        self.used = 0

    def spend(self, reason: Diverged, clips_shown: int) -> None:
        """Raise GrowreelError when no rollback is left."""
        if self.used == MAX_ROLLBACKS:
            raise GrowreelError(
                f"training diverged at {clips_shown} clips ({reason}) after {MAX_ROLLBACKS} rollbacks; the checkpoints before it are kept. "
                "Try a lower --growth.learning_rate with --allow-config-change, or --training.precision float32"
            )
        self.used += 1
