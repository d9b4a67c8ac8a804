"""Whole steps as one compiled graph.

PyTorch's compiler cannot differentiate twice through what it compiled ("aot_autograd does not currently support double backward"), and a
gradient penalty needs that. So the computation of the gradients is traced first, below autograd: backward passes, double backward and
the derivatives written by hand become plain operations, one graph, which is then compiled. The graph holds exactly what the step would do.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from growreel.errors import GrowreelError
from growreel.training.gradients import Gradients, Stats

CHECKED_CALLS = 3
"""The first results are compared with those of the graph as traced. (On a card, calls are: plain, recorded, replayed.)"""
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1}
"""Of all results together, relative. Rounding is not the same: the compiler keeps float32 where the parts would round to bfloat16."""
LAUNCH_BOUND_VOXELS = 8 * 16 * 16
"""On a card, stages up to this size spend their time on launching kernels, so their graph is replayed as a CUDA graph."""


class CompiledFunction:
    """A module's forward as a compiled graph: traced with the first inputs, whose shapes must stay. Numbers of the inputs are not looked at
    while tracing, but attributes and flags of the module become part of the graph.

    Args:
        module: one of `gradients.py`; its inputs are tensors, tuples of tensors, or None.
        dtype: of its arithmetic, for the tolerance of the check.
        voxels: of a clip.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype, voxels: int) -> None:
        self.module, self.tolerance, self.voxels = module, TOLERANCE[dtype], voxels
        self.calls = 0
        self._traced: torch.fx.GraphModule | None = None
        self._compiled: Callable[..., tuple[Gradients, Stats]] | None = None

    def __call__(self, *inputs: Any) -> tuple[Gradients, Stats]:
        """What the module returns for these inputs; a result is overwritten by a later call.

        Raises GrowreelError if the compiler fails, or if what it made computes something else.
        """
        parameters = dict(self.module.named_parameters())
        if self._compiled is not None and self._traced is None:
            return self._replay(parameters, inputs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the compiler warns about itself
            if self._compiled is None:
                self._traced = make_fx(self._run)(parameters, *inputs)
                mode = "reduce-overhead" if self._is_launch_bound(inputs) else "default"
                self._compiled = torch.compile(self._traced, mode=mode, dynamic=False)
            try:
                results = self._replay(parameters, inputs)
            except Exception as error:  # a compiler fails in ways of its own: no C++ compiler, no Triton, a bug
                reason = (str(error).strip() or repr(error)).splitlines()[0]
                raise GrowreelError(f"--compile on: the compiler failed ({type(error).__name__}: {reason}); use --compile off") from error
        self.calls += 1
        assert self._traced is not None
        with torch.no_grad():
            self._check(results[0], self._traced(parameters, *inputs)[0])
        if self.calls == CHECKED_CALLS:
            self._traced = None
        return results

    def _replay(self, parameters: Mapping[str, Tensor], inputs: tuple[Any, ...]) -> tuple[Gradients, Stats]:
        assert self._compiled is not None
        with torch.no_grad():
            if self._is_launch_bound(inputs):
                torch.compiler.cudagraph_mark_step_begin()
            return self._compiled(parameters, *inputs)

    def _is_launch_bound(self, inputs: tuple[Any, ...]) -> bool:
        return self.voxels <= LAUNCH_BOUND_VOXELS and inputs[0].device.type == "cuda"

    def _run(self, parameters: dict[str, Tensor], *inputs: Any) -> tuple[Gradients, Stats]:
        """The module's forward with parameters from outside."""
        result: tuple[Gradients, Stats] = torch.func.functional_call(self.module, parameters, inputs)
        return result

    def _check(self, results: Gradients, expected: Gradients) -> None:
        pairs = [(results[name], gradient) for name, gradient in expected.items()]
        wrong = torch.stack([(a - b).double().square().sum() for a, b in pairs]).sum().sqrt()
        error = float(wrong / torch.stack([b.double().square().sum() for _, b in pairs]).sum().sqrt().clamp(min=1e-30))
        if not error < self.tolerance:
            raise GrowreelError(
                f"--compile on: the compiled step is off by {error:.2g} of its gradients on this machine; use --compile off"
            )
