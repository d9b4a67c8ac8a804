"""How gradients are computed: operation by operation, compiled, recorded; the mathematics is the objective's in every case."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from growreel.config import TrainingConfig
from growreel.errors import GrowreelError
from growreel.growth import Position
from growreel.models.layers import group_of
from growreel.runtime.memory import is_out_of_memory
from growreel.runtime.precision import resolve_compile
from growreel.training.compilation import CompilationError, CompiledGradients
from growreel.training.objectives import Inputs, Objective, Stats, accumulate_gradients
from growreel.training.recording import RecordedGradients

log = logging.getLogger(__name__)
RECORDED_VOXELS = 16 * 64 * 64
"""On a card, steps of stages up to this size are recorded. Larger ones keep the card busy without."""

Compute = Callable[[Inputs, int], Stats]


class Execution:
    """Computes gradients of objectives in the way that configuration and device ask for.

    What was compiled or recorded is kept for the stage and phase that it is for, and let go with the next.
    """

    def __init__(self, training: TrainingConfig, device: torch.device) -> None:
        self.training, self.device = training, device
        self._compiles = resolve_compile(training, device) == "on"
        self._records = device.type == "cuda" and training.cuda_graphs
        self._functions: dict[tuple[Any, ...], Compute] = {}
        self._pool: Any = None
        self._least_passes: dict[int, int] = {}

    @property
    def had_to_shrink(self) -> bool:
        """Whether memory has run out, and clips are passed in smaller portions than was asked for."""
        return bool(self._least_passes)

    def __call__(self, objective: Objective, inputs: Inputs, position: Position, passes: int) -> Stats:
        """Add the gradients of the objective to `grad`, which is empty, of what it trains; return named scalars.

        What is returned, and the gradients, may be overwritten by a later call.

        Where memory runs out, the clips are passed in smaller portions, here and from now on at this stage. The sum of their gradients
        is the same: groups of the minibatch deviation stay together.

        Raises GrowreelError if `--compile on` was asked for and the compiler fails; with `auto` the step then runs as it is. And if memory
        does not suffice for the smallest portion.
        """
        passes = max(passes, self._least_passes.get(position.stage, 1))
        while True:
            try:
                return self._gradients(objective, inputs, position, passes)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = str(error).strip().splitlines()[0] if str(error).strip() else "out of memory"
            # Outside of the handler nothing holds the tensors of the attempt any more.
            passes = self._smaller_portions(objective, len(inputs.real), position, passes, reason)

    def _smaller_portions(self, objective: Objective, clips: int, position: Position, passes: int, reason: str) -> int:
        """Make room for another attempt with more passes, and return how many. Raises GrowreelError if there can be no more."""
        size, portion = objective.generator.plan.sizes[position.stage], clips // passes
        more = next((p for p in range(passes + 1, clips + 1) if clips % p == 0 and group_of(clips // p) == group_of(clips)), None)
        if more is None:
            raise GrowreelError(
                f"memory does not suffice for a step at {size} with {portion} clips at a time, the least that leaves the minibatch "
                f"deviation its groups ({reason}); give --training.recompute_voxels {size.voxels}, --training.precision bfloat16, or fewer "
                "--network.max_channels. growreel plan --fit chooses"
            )
        self._least_passes[position.stage] = more
        self._functions, self._pool = {}, None
        for parameter in objective.trained().values():
            parameter.grad = None
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        log.warning(
            "memory ran out at %s with %d clips at a time (%s); going on with %d, the same mathematics. --growth.microbatch %d says so "
            "from the beginning",
            size,
            portion,
            reason,
            clips // more,
            clips // more,
        )
        return more

    def _gradients(self, objective: Objective, inputs: Inputs, position: Position, passes: int) -> Stats:
        records = self._records and objective.generator.plan.sizes[position.stage].voxels <= RECORDED_VOXELS
        with objective.others_frozen():
            if not (self._compiles or records):
                return accumulate_gradients(objective, inputs, passes)
            if position.phase == "fade":  # a number would become part of what is kept
                inputs = inputs._replace(alpha=inputs.real.new_full((), position.alpha))
            return self._function(objective, position, records)(inputs, passes)

    def _function(self, objective: Objective, position: Position, records: bool) -> Compute:
        phase = (position.stage, position.phase)
        key = (*phase, type(objective).__name__, getattr(objective, "penalty_weight", None))
        if key not in self._functions:
            self._functions = {other: function for other, function in self._functions.items() if other[:2] == phase}
            self._functions[key] = self._make(objective, records)
        return self._functions[key]

    def _make(self, objective: Objective, records: bool) -> Compute:
        compute: Compute = self._compiled(objective) if self._compiles else partial(accumulate_gradients, objective)
        if not records:
            return compute
        if not self._functions:
            self._pool = torch.cuda.graph_pool_handle()
        return RecordedGradients(objective, compute, self._pool)

    def _compiled(self, objective: Objective) -> Compute:
        """Compiled gradients that fall back on the plain ones where the compiler fails, unless the user insists on it."""
        compiled = CompiledGradients(objective)

        def compute(inputs: Inputs, passes: int) -> Stats:
            if not self._compiles:
                return accumulate_gradients(objective, inputs, passes)
            try:
                return compiled(inputs, passes)
            except CompilationError as error:
                if self.training.compile == "on":
                    raise GrowreelError(f"--compile on: {error}; use --compile off") from error
                log.warning("--compile auto: %s; going on without", error)
                self._compiles = False
                return accumulate_gradients(objective, inputs, passes)

        return compute
