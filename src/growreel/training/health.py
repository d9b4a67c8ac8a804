"""Notice a step that went wrong, before it is saved."""

from __future__ import annotations

import math
from collections.abc import Iterable

from growreel.errors import GrowreelError
from growreel.training.saved_state import not_finite
from growreel.training.state import TrainingState

MAX_ROLLBACKS = 3


class Diverged(Exception):
    """A loss is not finite or beyond the limit; the message says which and what it was."""


def check_step(values: Iterable[tuple[str, float]], limit: float) -> None:
    """Raise Diverged if any value is NaN, infinite, or larger in size than `limit`."""
    for name, value in values:
        if not math.isfinite(value) or abs(value) > limit:
            raise Diverged(f"{name} is {value:g}")


def check_state(state: TrainingState) -> None:
    """Raise Diverged if any weight or moment is not finite: such a state must never become a checkpoint."""
    if (what := not_finite(state)) is not None:
        raise Diverged(f"{what} is not finite")


class RollbackBudget:
    """Counts rollbacks in the stretch between two checkpoints; the fourth divergence there ends the run."""

    def __init__(self) -> None:
        self.used = 0
        self.furthest = 0

    def spend(self, reason: Diverged, clips_shown: int) -> None:
        """Count a divergence at `clips_shown`. Raises GrowreelError when no rollback is left."""
        self.furthest = max(self.furthest, clips_shown)
        if self.used == MAX_ROLLBACKS:
            raise GrowreelError(
                f"training diverged at {clips_shown} clips ({reason}) after {MAX_ROLLBACKS} rollbacks; the checkpoints before it are kept. "
                "Try a lower --growth.learning_rate with --allow-config-change, or --training.precision float32"
            )
        self.used += 1

    def passed(self, clips_shown: int) -> None:
        """A checkpoint was written at `clips_shown`: beyond the last divergence the count starts anew."""
        if clips_shown > self.furthest:
            self.used = 0
