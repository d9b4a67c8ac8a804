"""A step on a card as a CUDA graph: recorded once, then started as a whole.

Small stages spend their time on launching kernels, some hundreds of them for a step, each a few microseconds of work. A recorded graph
launches all of them at once (https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from growreel.training.objectives import Inputs, Objective, Stats

WARM_UP_RUNS = 3
"""Before recording: the first runs choose kernels and make room, which a recording must not do."""


class RecordedGradients:
    """Does what `compute` does - adds the gradients of an objective to empty `grad`s and returns scalars - by replaying a recording of it.

    Tensors of the inputs are copied to where the recording reads them; their shapes must stay. What is returned, and the gradients, are
    overwritten by the next call.

    Args:
        objective: whose parameters get gradients.
        compute: takes inputs and a number of passes.
        pool: memory that recordings share which are never replayed at the same time; from `torch.cuda.graph_pool_handle`.
    """

    def __init__(self, objective: Objective, compute: Callable[[Inputs, int], Stats], pool: Any) -> None:
        self.objective, self._compute, self._pool = objective, compute, pool
        self._graph: torch.cuda.CUDAGraph | None = None
        self._places: list[Tensor] = []
        self._stats = Stats()
        self._gradients: list[tuple[Tensor, Tensor]] = []

    def __call__(self, inputs: Inputs, passes: int) -> Stats:
        """Run the step. The first call records it."""
        leaves, structure = tree_flatten(inputs)
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        if self._graph is None:
            self._places = [tensor.clone(memory_format=torch.preserve_format) for tensor in tensors]
            places = iter(self._places)
            standing = tree_unflatten([next(places) if isinstance(leaf, Tensor) else leaf for leaf in leaves], structure)
            self._record(standing, passes)
        torch._foreach_copy_(self._places, tensors)
        assert self._graph is not None
        self._graph.replay()
        for parameter, gradient in self._gradients:
            parameter.grad = gradient
        return self._stats

    def _record(self, inputs: Inputs, passes: int) -> None:
        trained = list(self.objective.trained().values())
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP_RUNS):
                self._compute(inputs, passes)
                for parameter in trained:
                    parameter.grad = None
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            self._stats = self._compute(inputs, passes)
        self._gradients = [(parameter, parameter.grad) for parameter in trained if parameter.grad is not None]
        self._graph = graph
