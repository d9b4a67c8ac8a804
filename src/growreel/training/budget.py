"""Hours for a run: a schedule cut to what the person has, and what there is to choose from when nothing was said about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from growreel.config import Config, GrowthConfig, load_config, load_preset, preset_names
from growreel.config.budget import budget_factor, scale_schedule
from growreel.errors import GrowreelError
from growreel.ranges import check_range
from growreel.training.forecast import Forecast, in_words
from growreel.training.initial import InitialWeights
from growreel.training.run_folder import RunFolder
from growreel.training.trial import StageTimes, measure_stages

LITTLE = 0.05
"""Below this share of a schedule its learning rates and fades no longer mean what they were chosen for."""


def within_hours(
    config: Config, hours: float, device: torch.device, run: RunFolder, initial: InitialWeights | None = None
) -> tuple[Config, Sequence[StageTimes] | None, str]:
    """Return the configuration with its schedule scaled so that training takes `hours` on this machine, as trial steps tell.

    Every stage's clips are multiplied by one factor (`growreel.config.budget.scale_schedule`). A run that was begun keeps the lengths
    that it was begun with, whatever this machine does now. Of one that begins with `initial` weights, the stages that these have behind
    them take no time. Every process must call it. Returned are also the times of the trial
    steps, None where none were needed, and in words what was done.

    Raises GrowreelError if `hours` is not positive, or if `training.clips` already says when to stop.
    """
    check_range("--hours", hours, above=0)
    if config.training.clips is not None:
        raise GrowreelError(f"--hours {hours:g}, --training.clips {config.training.clips}: both say when to stop; leave one out")
    if run.config.exists():
        growth = _lengths_of(load_config(run.config).growth, config.growth)
        return dataclasses.replace(config, growth=growth), None, f"--hours {hours:g}: the run keeps the schedule that it was begun with"
    plan = config.growth.plan()
    start = 0 if initial is None else initial.start(plan)
    times = measure_stages(config, device, plan.total_clips, plan.position(start).stage)
    factor = budget_factor(hours * 3600, Forecast(plan, times).stage_seconds(plan.total_clips, start))
    growth = scale_schedule(config.growth, factor)
    said = f"--hours {hours:g}: {growth.plan().total_clips:,} clips instead of {plan.total_clips:,}; every stage {factor:.3g} times as long"
    if factor < LITTLE:
        said += (
            "\nThat is little for networks and sizes like these: a smaller --target or narrower networks "
            "(--network.max_channels, or a preset) learn more in this time"
        )
    return dataclasses.replace(config, growth=growth), times, said


def _lengths_of(begun: GrowthConfig, growth: GrowthConfig) -> GrowthConfig:
    """Return this growth with the lengths of the stages of the one that was begun.

    If that has other stages it is returned as it is, for `RunFolder` to refuse.
    """
    ours, theirs = scale_schedule(growth, 1.0), begun.plan()
    if ours.plan().sizes != theirs.sizes:
        return ours
    stages = (
        dataclasses.replace(stage, fade_clips=length.fade_clips, stable_clips=length.stable_clips, decay_clips=length.decay_clips)
        for stage, length in zip(ours.stages, theirs.stages, strict=True)
    )
    return dataclasses.replace(ours, stages=tuple(stages))


def choices(config: Config, seconds: float) -> str:
    """Say what a person can do who gave no preset and no end, about a run that is to take `seconds`."""
    plan = config.growth.plan()
    shorter = []
    for name in preset_names():
        preset = load_preset(name).growth.plan()
        if preset.sizes[-1] == plan.sizes[-1] and preset.total_clips < plan.total_clips:
            shorter.append(f"{name} ({preset.total_clips:,} clips, narrower networks)")
    lines = [f"The schedule: {plan.total_clips:,} clips to {plan.sizes[-1]}, about {in_words(seconds)} on this machine. To choose:"]
    lines.append("  --hours H        every stage shorter by one factor, so that it takes H hours here")
    if shorter:
        lines.append(f"  --preset NAME    {' or '.join(shorter)}")
    lines.append("  --target TxHxW   a smaller size")
    lines.append("  --clips N        stop after N clips, which leaves the later stages out")
    lines.append("It has begun as it is; Ctrl-C saves and leaves.")
    return "\n".join(lines)
