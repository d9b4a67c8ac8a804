"""How much time a run still needs, when every stage costs another amount per clip and the machine is not always equally fast."""

from __future__ import annotations

import math
from collections.abc import Sequence

from growreel.growth import GrowthPlan, Position
from growreel.training.trial import StageTimes

TRUST_SECONDS = 5.0
"""What was expected counts as much as this many seconds of steps that were seen."""
STAGE_MEMORY_SECONDS = 300.0
RUN_MEMORY_SECONDS = 1800.0
"""After so many seconds of training a step counts a third, in the pace of the stage and in that of the whole run."""
STALL = 4.0
"""A step that takes more than so many times as long as expected counts as one that takes this: something else had the machine for a moment,
and that says little about the hours to come. What lasts is learnt all the same, a factor at a time."""


class Forecast:
    """Tells the seconds that a run still needs, from the times of the trial steps and from how the steps seen so far compare with them.

    The stage that is being trained goes on at its own pace of late; later stages are expected at the trial's times, corrected by the
    pace of the whole run so far. What happens between steps (samples, checkpoints, evaluations) is added per clip shown.

    Args:
        plan: what is trained.
        times: seconds per clip at every stage of it.
    """

    def __init__(self, plan: GrowthPlan, times: Sequence[StageTimes]) -> None:
        self.plan, self.times = plan, times
        self._in_run, self._at_stage = _Pace(RUN_MEMORY_SECONDS), _Pace(STAGE_MEMORY_SECONDS)
        self._stage: int | None = None
        self._between_steps, self._clips_seen = 0.0, 0

    def measured(self, position: Position, clips: int, seconds: float) -> None:
        """Tell how long the latest `clips` took, without what happened between steps."""
        if position.stage != self._stage:
            self._stage, self._at_stage = position.stage, _Pace(STAGE_MEMORY_SECONDS, self._in_run.factor)
        times = self.times[position.stage]
        expected = clips * (times.fade if position.phase == "fade" else times.stable)
        self._at_stage.add(seconds, expected)
        self._in_run.add(seconds, expected)
        self._clips_seen += clips

    def paused(self, seconds: float) -> None:
        """Tell how long something other than a step took."""
        self._between_steps += seconds

    def stage_seconds(self, total: int, clips_shown: int = 0) -> list[float]:
        """Return the seconds that each stage still needs after `clips_shown` clips if the run ends at `total`. The last is endless."""
        seconds = []
        for k, ((fade, stable), times) in enumerate(zip(self.plan.remaining(clips_shown, total), self.times, strict=True)):
            pace = self._at_stage if k == self._stage else self._in_run
            seconds.append(pace.factor * (fade * times.fade + stable * times.stable))
        return seconds

    def seconds_left(self, clips_shown: int, total: int) -> float:
        """Return the seconds from `clips_shown` to `total`, with what is expected between steps."""
        between = self._between_steps / self._clips_seen * (total - clips_shown) if self._clips_seen else 0.0
        return sum(self.stage_seconds(total, clips_shown)) + max(0.0, between)


class _Pace:
    """Tells how many times as long as expected steps take: an average that forgets, and that begins at `factor`."""

    def __init__(self, memory_seconds: float, factor: float = 1.0) -> None:
        self._memory = memory_seconds
        self._seconds, self._expected = factor * TRUST_SECONDS, TRUST_SECONDS

    @property
    def factor(self) -> float:
        return self._seconds / self._expected

    def add(self, seconds: float, expected: float) -> None:
        seconds = min(seconds, STALL * self.factor * expected)
        remembered = math.exp(-seconds / self._memory)
        self._seconds, self._expected = remembered * self._seconds + seconds, remembered * self._expected + expected


def in_words(seconds: float) -> str:
    """Write a duration with two or three digits, in the unit that suits it: `50 s`, `2.4 min`, `12 min`, `3.4 h`, `270 h`, `11 days`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.1f} min" if seconds < 595 else f"{seconds / 60:.0f} min"
    hours = seconds / 3600
    if hours < 10:
        return f"{hours:.1f} h"
    return f"{hours:.0f} h" if hours < 400 else f"{hours / 24:,.0f} days"
