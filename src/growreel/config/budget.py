"""A schedule cut to a budget: every stage keeps its share, all of them get shorter or longer by one factor."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from growreel.config.growth import GrowthConfig, StageConfig
from growreel.ranges import check_range


def scale_schedule(growth: GrowthConfig, factor: float) -> GrowthConfig:
    """Return the same growth with every fade and every stable phase `factor` times as long, written out stage by stage.

    Lengths are rounded to whole steps of the stage's minibatch. A phase that there was stays at least one step long, so a very small
    factor gives a plan that is longer than asked for. Sizes, minibatches and learning rates stay as they are; a rate that falls
    through a stable phase falls as far, only faster or slower.

    Raises GrowreelError unless `factor` is positive and finite, and as `GrowthConfig.plan` does.
    """
    check_range("schedule: its factor of length", factor, above=0)

    def scaled(clips: int, minibatch: int) -> int:
        return minibatch * max(1, round(clips * factor / minibatch)) if clips else 0

    stages = tuple(
        StageConfig(
            size=str(stage.size),
            fade_clips=scaled(stage.fade_clips, stage.minibatch),
            stable_clips=scaled(stage.stable_clips, stage.minibatch),
            minibatch=stage.minibatch,
            microbatch=stage.microbatch,
            learning_rate=stage.learning_rate,
            final_learning_rate=stage.final_learning_rate,
            decay_clips=None if stage.decay_clips is None else scaled(stage.decay_clips, stage.minibatch),
        )
        for stage in growth.plan().stages
    )
    return dataclasses.replace(growth, stages=stages, target=stages[-1].size)


def budget_factor(seconds: float, stage_seconds: Sequence[float]) -> float:
    """Return by what to multiply the clips of all stages so that they take `seconds` in all, when they now take `stage_seconds`."""
    return seconds / sum(stage_seconds)
