"""`growreel plan --fit`: settings with which every stage of a plan fits into memory, each found by a real step of training.

A step of the largest stage needs most, so stages are tried from the largest on. For each, ways to need less are tried in the order of
what they cost: fewer clips at a time (the same mathematics, and hardly slower), large blocks computed again in the backward pass (the same
mathematics, a third slower), bfloat16 (less memory, another rounding). A way that one stage needs is taken for smaller ones where it
cannot be chosen by stage.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from growreel.bench.process import Remote
from growreel.bench.report import markdown_rows
from growreel.bench.workload import StageWorkload
from growreel.config import Config, StageConfig, to_dict
from growreel.config.budget import budget_factor, scale_schedule
from growreel.errors import GrowreelError
from growreel.growth import GrowthPlan
from growreel.models.generator import stage_channels
from growreel.models.layers import group_of
from growreel.runtime import distributed
from growreel.runtime.devices import check_trainable
from growreel.runtime.memory import available_memory
from growreel.runtime.precision_choice import resolve_training
from growreel.training.forecast import in_words

try:
    import resource
except ImportError:  # Windows has no such module
    resource = None  # type: ignore[assignment]

LOG = logging.getLogger(__name__)
BESIDE_STEPS = 50_000_000
"""Bytes that a run holds on the host beside its steps: what it has loaded, clips read ahead, samples, a checkpoint being written."""
MARGIN = 0.1
"""Share of the memory that is left free: as much as forecasts may be too low (docs/training.md)."""
SETTLING_STEPS, SETTLING_SECONDS = 24, 20.0
"""On a CPU steps are made on, in the fade and after it in turns, until so many or for so long: what the C library keeps in pieces
of freed memory grows that long (at 16x32x32 from 759 to 828 MB in 20 steps, and no more in the 60 after them)."""

SIGNS_OF_TOO_LITTLE_MEMORY = (
    "memory ran out",
    "memory does not suffice",
    "can't allocate memory",
    "out of memory",
    "MemoryError",
    "SystemError",  # Python itself, where it cannot make an object
)


@dataclass(frozen=True)
class StageFit:
    """How one stage fits.

    Attributes:
        size: of its clips.
        minibatch, portion: clips of a step of this process, and how many pass the networks at a time.
        recompute: whether its block is computed again in the backward pass.
        precision: of the blocks.
        peak: bytes, the most during training.
        fade, stable: seconds per clip.
        clips: that a run shows in the fade and in the stable phase; none until its plan is settled.
    """

    size: str
    minibatch: int
    portion: int
    recompute: bool
    precision: str
    peak: int
    fade: float
    stable: float
    clips: tuple[int, int] = (0, 0)

    @property
    def seconds(self) -> float:
        """Return how long the stage takes."""
        return self.fade * self.clips[0] + self.stable * self.clips[1]


@dataclass(frozen=True)
class FitReport:
    """The settings found, and what training with them takes.

    Attributes:
        config: with which every stage fits.
        stages: in the order of the plan.
        limit: bytes that there were.
        changed: in words, what had to be changed.
    """

    config: Config
    stages: tuple[StageFit, ...]
    limit: int
    changed: tuple[str, ...]

    def table(self) -> str:
        """Return it as Markdown that is readable as it is."""
        rows: list[tuple[str, ...]] = [("stage", "minibatch", "at a time", "computed again", "precision", "memory", "clips/s", "hours")]
        for stage in self.stages:
            how = ("yes" if stage.recompute else "no", stage.precision, f"{stage.peak / 1e9:.2f} GB", f"{1 / stage.stable:.3g}")
            rows.append((stage.size, str(stage.minibatch), str(stage.portion), *how, f"{stage.seconds / 3600:.3g}"))
        seconds, peak = sum(stage.seconds for stage in self.stages), max(stage.peak for stage in self.stages)
        lines = [*markdown_rows(rows), ""]
        lines.append(f"in all about {in_words(seconds)}, at most {peak / 1e9:.2f} of {self.limit / 1e9:.2f} GB of memory")
        return "\n".join(lines + [f"changed: {each}" for each in self.changed or ("nothing; every stage fits as it is",)])

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        stages = [dataclasses.asdict(stage) | {"seconds": stage.seconds} for stage in self.stages]
        return {"stages": stages, "memory_limit": self.limit, "changed": list(self.changed), "config": to_dict(self.config)}


def fit(
    config: Config, *, memory: float | None = None, hours: float | None = None, start: Callable[[GrowthPlan], int] = lambda _: 0
) -> FitReport:
    """Find settings with which every stage fits, and forecast memory and time of training with them.

    Args:
        config: what `train` would be given; colour channels that are open count as three.
        memory: bytes that training may take; None is what is free here and now.
        hours: make every stage longer or shorter by one factor so that training takes so long.
        start: says at how many clips of a plan the run begins, which is above 0 if it has the weights of another.

    Raises:
        GrowreelError: a stage fits in no way that is known, or a process that measures failed.
    """
    device = distributed.pick_device(config.training.device, "--training.device")
    check_trainable(device, "--training.device")
    limit = int(memory or available_memory(device))
    if not limit:
        raise GrowreelError("plan --fit: this system does not say how much memory is free; give --memory, e.g. 12GB")
    colors = config.network.image_channels or 3
    network = dataclasses.replace(config.network, image_channels=colors)
    config = dataclasses.replace(config, network=network, training=resolve_training(config.training, device))
    plan, found = config.growth.plan(), dict[int, StageFit]()
    for number in sorted(range(len(plan.stages)), key=lambda k: -plan.sizes[k].voxels * plan.stages[k].minibatch):
        config, found[number] = _fit_stage(config, number, device, limit)
    # A way that a later one needed holds for all: what was measured before it was chosen is measured again.
    for number, stage in found.items():
        recompute = _recomputes(config, number)
        if (stage.precision, stage.recompute) != (config.training.precision, recompute):
            again = _try(config, number, device, limit)
            if again is None:
                raise GrowreelError(f"plan --fit: {stage.size} no longer fits with what the other stages need; give more --memory")
            found[number] = again
    stages = _with_lengths([found[number] for number in range(len(plan.stages))], plan, start)
    if hours is not None:
        factor = budget_factor(hours * 3600, [stage.seconds for stage in stages])
        config = dataclasses.replace(config, growth=scale_schedule(config.growth, factor))
        stages = _with_lengths(stages, config.growth.plan(), start)
    return FitReport(config, stages, limit, tuple(_changes(config, plan.stages, stages)))


def _with_lengths(stages: Sequence[StageFit], plan: GrowthPlan, start: Callable[[GrowthPlan], int]) -> tuple[StageFit, ...]:
    """The stages as long as they are in a run of this plan that begins where `start` says."""
    lengths = plan.remaining(start(plan), plan.total_clips)
    return tuple(dataclasses.replace(stage, clips=clips) for stage, clips in zip(stages, lengths, strict=True))


def check_memory(config: Config, device: torch.device) -> None:
    """Make sure, before a run begins, that its largest stage fits into the memory that is free.

    A rough count says at once for most runs that it does; for the others a real step is made, in a process of its own.
    Raises GrowreelError, with the numbers and what to change, if it does not fit.
    """
    free, plan = available_memory(device), config.growth.plan()
    if device.type == "cpu":
        free //= int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    number = max(range(len(plan.stages)), key=lambda k: plan.sizes[k].voxels * plan.stages[k].minibatch)
    if not free or rough_memory(config, number) < free / 2:
        return
    if distributed.rank() == 0:
        LOG.info("making a step at %s, to see whether it fits into memory", plan.sizes[number])
    try:
        fits = _try(config, number, device, free) is not None
    except GrowreelError as error:  # that a process cannot be measured is no reason not to train
        LOG.warning("whether %s fits into memory was not looked at: %s", plan.sizes[number], str(error).splitlines()[0])
        return
    if not fits:
        stage = plan.stages[number]
        share = stage.minibatch // distributed.world_size()
        raise GrowreelError(
            f"stage {stage.size}: a step with {min(stage.microbatch or share, share)} clips at a time in {config.training.precision} does "
            f"not fit into the {free / 1e9:.1f} GB of memory that are free, and the run would stop there. growreel plan STORE --fit --save "
            "FILE finds settings that fit, for train --config FILE; or give --growth.microbatch 4, --training.recompute_voxels "
            f"{stage.size.voxels}, or a smaller --target"
        )


def rough_memory(config: Config, number: int) -> float:
    """Bytes that a step at a stage takes, counted from the activations of one network: 25 times those in float32, as was measured at
    32x256x256 on a card (docs/benchmarks.md), and what PyTorch takes for itself. Too much for most ways to train."""
    plan, network = config.growth.plan(), config.network
    share = plan.stages[number].minibatch // distributed.world_size()
    portion = min(plan.stages[number].microbatch or share, share)
    values = sum(size.voxels * stage_channels(size, network.base_channels, network.max_channels) for size in plan.sizes[: number + 1])
    return 5e8 + 25 * 4 * portion * values


def _fit_stage(config: Config, number: int, device: torch.device, limit: int) -> tuple[Config, StageFit]:
    """The cheapest way in which a stage fits, and the configuration that has it."""
    tried = list[str]()
    for way in _ways(config, number, device):
        stage = way.growth.plan().stages[number]
        how = f"{stage.microbatch or stage.minibatch} at a time in {way.training.precision}"
        LOG.info("measuring steps at %s, %s", stage.size, how)
        measured = _try(way, number, device, limit)
        if measured is not None:
            return way, measured
        tried.append(how)
    raise GrowreelError(
        f"plan --fit: a step at {config.growth.plan().sizes[number]} does not fit into {limit / 1e9:.2f} GB in any way tried "
        f"({'; '.join(tried)}); give a smaller --target, fewer --network.max_channels, or more --memory"
    )


def _ways(config: Config, number: int, device: torch.device) -> Iterator[Config]:
    """The configuration as it is, then others that need less memory at a stage, each less than the one before."""
    yield config
    stage = config.growth.plan().stages[number]
    share = stage.minibatch // distributed.world_size()
    portion = min(stage.microbatch or share, share)
    while smaller := next((p for p in range(portion - 1, 0, -1) if share % p == 0 and group_of(p) == group_of(share)), None):
        config, portion = _with_portion(config, number, smaller), smaller
        yield config
    if not _recomputes(config, number):
        training = dataclasses.replace(config.training, recompute_voxels=stage.size.voxels, compile="off")
        config = dataclasses.replace(config, training=training)
        yield config
    halves = torch.cuda.is_bf16_supported() if device.type == "cuda" else True
    if config.training.precision in ("float32", "tf32") and halves:
        yield dataclasses.replace(config, training=dataclasses.replace(config.training, precision="bfloat16"))


def _with_portion(config: Config, number: int, portion: int) -> Config:
    """So many clips at a time at one stage; the stages are written out for that."""
    growth, plan = config.growth, config.growth.plan()
    stages = list(growth.stages or (StageConfig(str(size)) for size in plan.sizes))
    stages[number] = dataclasses.replace(stages[number], microbatch=portion)
    return dataclasses.replace(config, growth=dataclasses.replace(growth, target=str(plan.sizes[-1]), stages=tuple(stages)))


def _recomputes(config: Config, number: int) -> bool:
    least = config.training.recompute_voxels
    return least is not None and config.growth.plan().sizes[number].voxels >= least


def _try(config: Config, number: int, device: torch.device, limit: int) -> StageFit | None:
    """A stage as it is configured, measured in a process of its own; None if it needs more than the limit."""
    stage = config.growth.plan().stages[number]
    try:
        with Remote(_limited_workload, to_dict(config), number, str(device), limit) as worker:
            worker.call("train", False, 1)
            stable = worker.call("train", False, config.loss.penalty_interval)
            fades = stage.fade_clips > 0 and number > 0
            fade = worker.call("train", True, config.loss.penalty_interval) if fades else stable
            for step in range(min(SETTLING_STEPS, int(SETTLING_SECONDS / stable)) if device.type == "cpu" else 0):
                worker.call("train", fades and step % 2 == 1, 1)
            memory = worker.call("memory")
    except GrowreelError as error:
        if any(sign in str(error) for sign in SIGNS_OF_TOO_LITTLE_MEMORY):
            return None
        raise
    peak = memory["peak"] + (BESIDE_STEPS if device.type == "cpu" else 0)
    if memory["had_to_shrink"] or peak > (1 - MARGIN) * limit:
        return None
    clips, share = stage.minibatch * config.training.critic_steps, stage.minibatch // distributed.world_size()
    portion, recompute = min(stage.microbatch or share, share), _recomputes(config, number)
    return StageFit(str(stage.size), share, portion, recompute, config.training.precision, peak, fade / clips, stable / clips)


def _limited_workload(tree: dict[str, Any], stage: int, device: str, limit: int) -> StageWorkload:
    """A workload whose process fails, instead of bringing the machine to its knees, where it wants more than the limit."""
    if device == "cpu" and resource is not None:
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
    return StageWorkload(tree, stage, device)


def _changes(config: Config, before: Sequence[Any], stages: Sequence[StageFit]) -> Iterator[str]:
    for old, new in zip(before, stages, strict=True):
        if new.portion < min(old.microbatch or new.minibatch, new.minibatch):
            yield f"{new.size}: {new.portion} clips at a time (microbatch), the same mathematics"
    if any(stage.recompute for stage in stages):
        yield f"training.recompute_voxels {config.training.recompute_voxels}: the same mathematics, slower"
    if config.training.precision == "bfloat16" and any(stage.precision == "bfloat16" for stage in stages):
        yield "training.precision bfloat16: rounds the blocks' values to 8 bits"
