"""Growth as data: which sizes a model passes through, and where in that plan a number of clips shown stands.

Pure Python. Everything that depends on growth - generator, discriminator, the pyramid of real clips, the fade - reads the
same `GrowthPlan`, so the parts cannot disagree (arXiv 1810.02419 grows resolution alone, duration alone, or both).
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Literal, NamedTuple

from growreel.errors import GrowreelError
from growreel.ranges import check_range
from growreel.reading.words import shown

Order = Literal["space", "time", "joint", "paper"]
Phase = Literal["fade", "stable"]
TimeReduction = Literal["average", "subsample"]
AXIS_NAMES = ("time", "height", "width")


class Size(NamedTuple):
    """The extent of a clip: frames, rows, columns."""

    t: int
    h: int
    w: int

    @classmethod
    def parse(cls, text: str, flag: str = "size") -> Size:
        """Read `TxHxW`, e.g. `16x64x64`. Raises GrowreelError, naming `flag`, on anything else."""
        match = re.fullmatch(r"\s*(\d{1,10})x(\d{1,10})x(\d{1,10})\s*", str(text), flags=re.ASCII)
        size = cls(*map(int, match.groups())) if match else None
        if size is None or not 0 < size.voxels < 2**31:
            raise GrowreelError(f"{flag}: {shown(text)} is not a size; write TxHxW with positive numbers, e.g. 16x64x64")
        return size

    @property
    def voxels(self) -> int:
        return self.t * self.h * self.w

    def __str__(self) -> str:
        return f"{self.t}x{self.h}x{self.w}"


@dataclass(frozen=True)
class Stage:
    """One size on the ladder and how long and how the model trains there. Lengths are in clips shown.

    The learning rate is constant in the fade and goes linearly to `final_learning_rate` through the stable phase, or through the last
    `decay_clips` of it. `microbatch` is how many clips of a process's share of the minibatch pass the networks at a time; None is all.
    """

    size: Size
    fade_clips: int
    stable_clips: int
    minibatch: int
    learning_rate: float
    final_learning_rate: float
    microbatch: int | None = None
    decay_clips: int | None = None

    def __post_init__(self) -> None:
        where = f"stage {self.size}"
        for name in ("fade_clips", "stable_clips"):
            check_range(f"{where}: {name}", getattr(self, name), least=0)
        if self.fade_clips + self.stable_clips == 0:
            raise GrowreelError(f"{where}: has no clips to train on; give fade_clips or stable_clips a positive value")
        check_range(f"{where}: minibatch", self.minibatch, least=1)
        if self.microbatch is not None and (self.microbatch < 1 or self.minibatch % self.microbatch):
            raise GrowreelError(f"{where}: microbatch is {self.microbatch}; it must divide the minibatch of {self.minibatch}")
        for name in ("learning_rate", "final_learning_rate"):
            check_range(f"{where}: {name}", getattr(self, name), above=0)
        check_range(f"{where}: decay_clips", self.decay_clips, least=1, most=self.stable_clips)


@dataclass(frozen=True)
class Position:
    """Where training stands: the index of the stage, the phase, and the weight `alpha` of the newest block.

    `alpha` rises linearly from 0 to 1 through the fade and is 1 in the stable phase.
    """

    stage: int
    phase: Phase
    alpha: float


@dataclass(frozen=True)
class GrowthPlan:
    """Ordered stages. Each step multiplies every axis by 1 or 2, at least one of them by 2.

    `time_reduction` says how real clips get the fewer frames of early stages; space is always averaged.

    Raises GrowreelError, with the reason, on any other step, on an empty plan, and on a first stage that fades.
    """

    stages: tuple[Stage, ...]
    time_reduction: TimeReduction = "average"

    def __post_init__(self) -> None:
        if not self.stages:
            raise GrowreelError("growth.stages: the plan has no stages; give at least one, e.g. 4x4x4")
        if self.stages[0].fade_clips:
            raise GrowreelError(f"stage {self.stages[0].size}: the first stage has nothing to fade from; set fade_clips to 0")
        check_steps(self.sizes)

    @property
    def sizes(self) -> tuple[Size, ...]:
        return tuple(stage.size for stage in self.stages)

    @property
    def total_clips(self) -> int:
        return sum(stage.fade_clips + stage.stable_clips for stage in self.stages)

    def scale(self, index: int) -> Size:
        """Factor (1 or 2) by which each axis grows from stage `index - 1` to stage `index`."""
        before, after = self.sizes[index - 1], self.sizes[index]
        return Size(*(a // b for a, b in zip(after, before, strict=True)))

    def start(self, index: int) -> int:
        """Clips shown when stage `index` begins."""
        return sum(stage.fade_clips + stage.stable_clips for stage in self.stages[:index])

    def remaining(self, clips_shown: int, total: int) -> list[tuple[int, int]]:
        """Clips that each stage, of which the last is endless, still shows in its fade and after it, from `clips_shown` to `total`."""
        left = []
        for k, stage in enumerate(self.stages):
            fade_end = self.start(k) + stage.fade_clips
            end = fade_end + stage.stable_clips if k < len(self.stages) - 1 else max(total, fade_end + stage.stable_clips)
            fade, stable = (max(0, min(b, total) - max(a, clips_shown)) for a, b in ((self.start(k), fade_end), (fade_end, end)))
            left.append((fade, stable))
        return left

    def position(self, clips_shown: int) -> Position:
        """The place of `clips_shown` in the plan; beyond its end the last stage stays stable."""
        if clips_shown < 0:
            raise ValueError(f"clips_shown is {clips_shown}; it cannot be negative")
        ends = list(accumulate(stage.fade_clips + stage.stable_clips for stage in self.stages))
        index = min(bisect.bisect_right(ends, clips_shown), len(self.stages) - 1)
        stage, into = self.stages[index], clips_shown - self.start(index)
        if into < stage.fade_clips:
            return Position(index, "fade", into / stage.fade_clips)
        return Position(index, "stable", 1.0)

    def learning_rate(self, clips_shown: int) -> float:
        """Adam's step size at `clips_shown`; beyond the end of the plan the last stage's final one."""
        position = self.position(clips_shown)
        stage = self.stages[position.stage]
        if position.phase == "fade" or stage.stable_clips == 0:
            return stage.learning_rate
        decay_clips = stage.decay_clips or stage.stable_clips
        into_decay = clips_shown - self.start(position.stage + 1) + decay_clips
        done = min(max(into_decay / decay_clips, 0.0), 1.0)
        return stage.learning_rate + done * (stage.final_learning_rate - stage.learning_rate)


def check_steps(sizes: Sequence[Size]) -> None:
    """Raise GrowreelError unless every step between neighbours is a legal growth step."""
    for before, after in pairwise(sizes):
        for axis, small, large in zip(AXIS_NAMES, before, after, strict=True):
            if large not in (small, 2 * small):
                raise GrowreelError(
                    f"growth.stages: {before} -> {after}: {axis} goes from {small} to {large}; "
                    f"a step keeps an axis ({small}) or doubles it ({2 * small})"
                )
        if before == after:
            raise GrowreelError(f"growth.stages: {before} -> {after}: nothing grows; leave the second one out")


def growing_axes(before: Size, after: Size) -> str:
    """What a step grows, in words: `time`, `space`, `time + space`, or a single spatial axis."""
    t, h, w = (a > b for a, b in zip(after, before, strict=True))
    space = "space" if h and w else "height" if h else "width" if w else ""
    return " + ".join(name for name in ("time" if t else "", space) if name)


def ladder(target: Size, order: Order, base: Size) -> tuple[Size, ...]:
    """The sizes from `base` to `target`.

    * `space`: resolution first, then duration; `time`: duration first, then resolution;
    * `joint`: both in every step for as long as both have some way to go;
    * `paper`: steps take turns, both axes and then resolution alone (the table of the released code).

    With a base that already has the target's duration (`16x4x4`), resolution alone grows.
    Raises GrowreelError where doubling cannot lead from `base` to `target`.
    """
    if not all(_is_doubled(small, large) for small, large in zip(base, target, strict=True)):
        raise GrowreelError(f"--target {target}: cannot be reached from base {base} by doubling axes; {_base_hint(target)}")
    sizes, turn = [base], 0
    while sizes[-1] != target:
        now = sizes[-1]
        time_left, space_left = now.t < target.t, (now.h, now.w) != (target.h, target.w)
        grow_time, grow_space = {
            "space": (not space_left, True),
            "time": (True, not time_left),
            "joint": (True, True),
            "paper": (turn % 2 == 0 or not space_left, True),
        }[order]
        sizes.append(
            Size(
                now.t * 2 if grow_time and time_left else now.t,
                now.h * 2 if grow_space and now.h < target.h else now.h,
                now.w * 2 if grow_space and now.w < target.w else now.w,
            )
        )
        turn += 1
    return tuple(sizes)


def _is_doubled(small: int, large: int) -> bool:
    """Whether doubling `small` some number of times, or never, gives `large`."""
    factor, rest = divmod(large, small)
    return rest == 0 and factor > 0 and factor & (factor - 1) == 0


def _base_hint(target: Size) -> str:
    """Suggest the base that reaches `target`, with every axis halved down to at most 4."""

    def halve(extent: int) -> int:
        while extent > 4 and extent % 2 == 0:
            extent //= 2
        return extent

    base = Size(*map(halve, target))
    if max(base) > 12:
        return f"choose extents that are a small number times a power of two (its odd part would make the base {base})"
    return f"try --growth.base {base}"
