"""How long a clip takes at every stage of a plan on this machine: a few steps of each are made, on networks that are then thrown away."""

from __future__ import annotations

import dataclasses
import gc
import math
import time
from dataclasses import dataclass

import torch

from growreel.bench.workload import StageWorkload
from growreel.config import Config, to_dict
from growreel.models import Discriminator, Generator, build_discriminator, build_generator
from growreel.runtime import distributed
from growreel.runtime.memory import forget_peak

LEAST_SECONDS = 0.15
"""A measurement of short steps lasts at least this long, unless the run itself is short."""
LONG_STEP_SECONDS = 1.0
"""Where steps take longer, the fade is not measured but taken to cost `FADE_COST` times as much."""
LIMIT_SECONDS = 20.0
"""On a CPU the larger stages are estimated instead of measured when their first step would lead beyond this time after the first,"""
LIMIT_SHARE = 0.03
"""or beyond this share of the time that the whole run is expected to take."""
FADE_COST = 1.1
"""How many times as long a clip takes in a fade as after it, where no fade was measured."""


@dataclass(frozen=True)
class StageTimes:
    """Seconds per real clip shown at one stage, over all processes: in its fade, and in its stable phase."""

    fade: float
    stable: float


def stage_costs(config: Config) -> list[int]:
    """Return the arithmetic of one clip at each stage.

    It is the sum over the active blocks of their weights times the voxels that they are applied to.
    """
    with torch.device("meta"):
        generator, discriminator = build_generator(config), build_discriminator(config)
    return [sum(_block_cost(generator, discriminator, k) for k in range(i + 1)) for i in range(len(generator.plan.sizes))]


def _block_cost(generator: Generator, discriminator: Discriminator, stage: int) -> int:
    size = generator.plan.sizes[stage]
    blocks = [network.blocks[str(size)] for network in (generator, discriminator)] if stage else [generator.first, discriminator.last]
    return size.voxels * sum(parameter.numel() for block in blocks for parameter in block.parameters())


def measure_stages(config: Config, device: torch.device, total: int, first_stage: int = 0) -> list[StageTimes]:
    """Return the times of all stages of the plan from `first_stage` on; the earlier ones, which are over, get those of `first_stage`.

    On a CPU it takes at most about `LIMIT_SECONDS`, and little of a short run. Stages that would take longer, and those for which memory
    does not suffice here and now, are estimated from the last one that was measured, by their arithmetic. On a card, where small stages
    take the time of launching their operations, nothing follows from them for the large ones: all for which there is memory are measured.
    Every process must call it. The networks of the run, its random draws and its peak of memory are not touched.

    Args:
        config: with channels and precision settled. Steps are measured uncompiled.
        total: clips after which the run ends, which may be before the end of the plan.
    """
    config = dataclasses.replace(config, training=dataclasses.replace(config.training, compile="off"))
    trial = _Trial(config, device, total, first_stage)
    try:
        trial.run()
    except torch.OutOfMemoryError:
        if not trial.times:
            raise
    finally:
        gc.collect()
        forget_peak(device)
    return trial.for_all_stages()


class _Trial:
    """Measures stage after stage, for as long as there is time."""

    def __init__(self, config: Config, device: torch.device, total: int, first_stage: int) -> None:
        self.config, self.device, self.total, self.first = config, device, total, first_stage
        self.plan, self.costs = config.growth.plan(), stage_costs(config)
        self.times: list[StageTimes] = []
        self.started, self.limit, self.least = time.perf_counter(), LIMIT_SECONDS, 0.0

    def run(self) -> None:
        for stage in range(self.first, len(self.plan.stages)):
            if self.total <= self.plan.start(stage):
                break
            expected = self.times[-1].stable * self.costs[stage] / self.costs[stage - 1] * self._clips(stage) if self.times else 0.0
            if not self._has_time_for(expected):
                break
            workload = StageWorkload(to_dict(self.config), stage, str(self.device))
            if not self.times:
                workload.train(False, 1)  # what PyTorch does once a process, which takes seconds, on a busy machine many
                self.started = time.perf_counter()
                self._learn_limits(self._seconds_per_step(workload, fading=False) / self._clips(stage))
            self.times.append(self._measure(workload, stage))

    def for_all_stages(self) -> list[StageTimes]:
        """Return what was measured, and around it what follows from it."""
        last, before = self.times[-1], self.first + len(self.times)
        ratios = [cost / self.costs[before - 1] for cost in self.costs[before:]]
        return [self.times[0]] * self.first + self.times + [StageTimes(last.fade * ratio, last.stable * ratio) for ratio in ratios]

    def _has_time_for(self, seconds: float) -> bool:
        return self.device.type == "cuda" or distributed.from_first(time.perf_counter() - self.started + seconds < self.limit)

    def _clips(self, stage: int) -> int:
        return self.plan.stages[stage].minibatch * self.config.training.critic_steps

    def _learn_limits(self, seconds_per_clip: float) -> None:
        """Conclude from a first glance at the first stage how long the run takes, and so how long the trial may."""
        start, whole = self.plan.start(self.first), 0.0
        ends = [*(self.plan.start(k) for k in range(self.first + 1, len(self.plan.stages))), max(self.total, self.plan.total_clips)]
        for end, cost in zip(ends, self.costs[self.first :], strict=True):
            whole += max(0, min(end, self.total) - start) * seconds_per_clip * cost / self.costs[self.first]
            start = end
        self.limit = min(LIMIT_SECONDS, LIMIT_SHARE * whole)
        self.least = min(LEAST_SECONDS, self.limit / 20)

    def _measure(self, workload: StageWorkload, stage: int) -> StageTimes:
        stable = self._seconds_per_step(workload, fading=False)
        if self.plan.stages[stage].fade_clips == 0:
            fade = stable
        elif stable < LONG_STEP_SECONDS:
            fade = self._seconds_per_step(workload, fading=True)
        else:
            fade = FADE_COST * stable
        return StageTimes(fade / self._clips(stage), stable / self._clips(stage))

    def _seconds_per_step(self, workload: StageWorkload, *, fading: bool) -> float:
        """Return the seconds of a step, on average over periods of the gradient penalty, the same in all processes. The first warms up."""
        period = self.config.loss.penalty_interval
        first = distributed.from_first(workload.train(fading, 1))
        if not self._has_time_for(first * period):
            return first
        seconds = distributed.from_first(workload.train(fading, period))
        more = math.ceil(self.least / (seconds * period)) - 1
        return distributed.from_first(workload.train(fading, more * period)) if more > 0 else seconds
