"""Settings of growth, and the plan that they resolve to."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

from growreel.errors import GrowreelError
from growreel.growth import GrowthPlan, Order, Size, Stage, TimeReduction, ladder


@dataclass(frozen=True)
class StageConfig:
    """One stage of a plan written out by hand; what is left out comes from `growth`."""

    size: str
    """Extent of the clips at this stage, TxHxW."""
    fade_clips: int | None = None
    """Clips shown while this stage fades in."""
    stable_clips: int | None = None
    """Clips shown after the fade."""
    minibatch: int | None = None
    """Clips per step over all processes."""
    microbatch: int | None = None
    """Clips of a process that pass the networks at a time."""
    learning_rate: float | None = None
    """Adam's step size for both networks."""
    final_learning_rate: float | None = None
    """What the step size falls (or rises) to, linearly, through the stable phase; None keeps it constant."""
    decay_clips: int | None = None
    """Through how many clips, the last of the stable phase, it does; before, it is constant. None is all of them."""

    @classmethod
    def from_text(cls, size: str) -> StageConfig:
        """Return what a plain size in a list of stages stands for."""
        return cls(size)


@dataclass(frozen=True)
class GrowthConfig:
    """Which sizes the model passes through and how long it stays at each."""

    target: str | None = None
    """Size of the finished clips, TxHxW; None is the end of `stages`, or 16x64x64."""
    order: Order = "paper"
    """What grows first: `space` (then time), `time` (then space), `joint` (both together), `paper` (both and space alone in turns)."""
    base: str = "4x4x4"
    """Size of the first stage; it need not be a cube (4x3x4 gives 4:3 pictures, 16x4x4 grows resolution alone)."""
    stages: tuple[StageConfig, ...] = ()
    """The plan written out, instead of `target`, `order` and `base`. In YAML a plain size stands for a stage with defaults."""
    fade_clips: int = 600_000
    """Real clips shown while a stage fades in."""
    stable_clips: int = 600_000
    """Real clips shown at a stage after its fade (the first stage has only these)."""
    minibatch: int | None = None
    """Clips per step over all processes; None takes the paper's: 32 up to 8x8x8, 16 up to 16x32x32, 8 up to 32x128x128, then 4."""
    microbatch: int | None = None
    """Clips of a process that pass the networks at a time, to save memory: the gradients of several passes are added up. None is all of
    them. The groups of four clips of the minibatch standard deviation are formed within a pass, so multiples of 4 change nothing."""
    learning_rate: float = 0.001
    """Adam's step size for both networks."""
    time_reduction: TimeReduction = "average"
    """How real clips get the fewer frames of early stages: `average` of the frames in between (the paper), or `subsample`: the first of
    them, so that what moves stays sharp."""

    def along(self, sizes: Sequence[Size]) -> tuple[GrowthConfig, dict[Size, Size]]:
        """These settings with the stages of another plan; and, for each size that no stage here has, the size whose schedule it takes.

        A stage that is in both plans keeps its lengths, minibatches and learning rates. Another one takes those of the stage nearest in
        voxels (of two, the larger), and its falling learning rate only if it is the last. Without stages written out there is nothing to
        keep: the general lengths then hold for all.
        """
        if not self.stages:
            return dataclasses.replace(self, target=None, stages=tuple(StageConfig(str(size)) for size in sizes)), {}
        own = {Size.parse(stage.size, "growth.stages"): stage for stage in self.stages}
        first_fade = self.stages[min(1, len(self.stages) - 1)].fade_clips
        stages, taken = [], {}
        for k, size in enumerate(sizes):
            stage = own.get(size)
            if stage is None:
                taken[size] = min(own, key=lambda other: (abs(math.log(other.voxels / size.voxels)), -other.voxels))
                stage = own[taken[size]]
                if k < len(sizes) - 1:
                    stage = dataclasses.replace(stage, final_learning_rate=None, decay_clips=None)
            fade_clips = None if k == 0 else first_fade if stage.size == self.stages[0].size else stage.fade_clips
            stages.append(dataclasses.replace(stage, size=str(size), fade_clips=fade_clips))
        return dataclasses.replace(self, target=str(sizes[-1]), stages=tuple(stages)), taken

    def plan(self) -> GrowthPlan:
        """Resolve into a GrowthPlan. Raises GrowreelError naming the field that does not fit."""
        if self.stages and self.target not in (None, self.stages[-1].size):
            raise GrowreelError(
                f"growth.target: {self.target} is not where growth.stages end ({self.stages[-1].size}); "
                "--target makes a new plan in place of the stages"
            )
        target, base = Size.parse(self.target or "16x64x64", "--target"), Size.parse(self.base, "--growth.base")
        stages = self.stages or tuple(StageConfig(str(size)) for size in ladder(target, self.order, base))
        return GrowthPlan(tuple(self._stage(stage, first=i == 0) for i, stage in enumerate(stages)), self.time_reduction)

    def _stage(self, stage: StageConfig, first: bool) -> Stage:
        size = Size.parse(stage.size, "growth.stages")
        if stage.decay_clips is not None and stage.final_learning_rate is None:
            raise GrowreelError(f"growth.stages: {size}: decay_clips has no effect without final_learning_rate; give both or neither")
        learning_rate = self.learning_rate if stage.learning_rate is None else stage.learning_rate
        fade_clips = self.fade_clips if stage.fade_clips is None else stage.fade_clips
        minibatch = self.minibatch if stage.minibatch is None else stage.minibatch
        minibatch = paper_minibatch(size) if minibatch is None else minibatch
        microbatch = self.microbatch if stage.microbatch is None else stage.microbatch
        return Stage(
            size=size,
            fade_clips=0 if first and stage.fade_clips is None else fade_clips,
            stable_clips=self.stable_clips if stage.stable_clips is None else stage.stable_clips,
            minibatch=minibatch,
            learning_rate=learning_rate,
            final_learning_rate=learning_rate if stage.final_learning_rate is None else stage.final_learning_rate,
            microbatch=microbatch if microbatch is None else min(microbatch, minibatch),
            decay_clips=stage.decay_clips,
        )


def paper_minibatch(size: Size) -> int:
    """Minibatch that the paper's table gives a stage of this many voxels (12 GB card)."""
    limits = ((8 * 8 * 8, 32), (16 * 32 * 32, 16), (32 * 128 * 128, 8))
    return next((minibatch for voxels, minibatch in limits if size.voxels <= voxels), 4)
