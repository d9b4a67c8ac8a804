"""Whole steps as one compiled graph.

PyTorch's compiler cannot differentiate twice through what it compiled ("aot_autograd does not currently support double backward"), and a
gradient penalty needs that. So the computation of the gradients is traced first, below autograd: backward passes, double backward and
the derivatives written by hand become plain operations, one graph, which is then compiled. The graph holds exactly what the step would do.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from growreel.errors import GrowreelError
from growreel.training.gradients import DiscriminatorGradients, GeneratorGradients, Gradients, Stats

CHECKED_CALLS = 3
"""The first results are checked. (On a card, calls are: plain, recorded, replayed.)"""
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.3}
"""Relative error that a compiled step may have on top of twice that of the step as it is, both against float32. In bfloat16 single draws
differ by a tenth in small networks: values near zero are on other sides of a leaky ReLU. What compilers do wrong is larger."""
LAUNCH_BOUND_VOXELS = 8 * 16 * 16
"""On a card, stages up to this size spend their time on launching kernels, so their graph is replayed as a CUDA graph."""


class CompiledFunction:
    """Gradients of a step as a compiled graph: traced with the first inputs, whose shapes must stay. Numbers of the inputs are not looked
    at while tracing, but attributes and flags of the module become part of the graph.

    Args:
        module: what computes the gradients.
        voxels: of a clip.
    """

    def __init__(self, module: DiscriminatorGradients | GeneratorGradients, voxels: int) -> None:
        self.module, self.voxels = module, voxels
        self.calls = 0
        self._graph: Callable[..., tuple[Gradients, Stats]] | None = None

    def __call__(self, *inputs: Any) -> tuple[Gradients, Stats]:
        """What the module returns for these inputs; a result is overwritten by a later call.

        Raises GrowreelError if the compiler fails, or if what it made computes something else.
        """
        if self.calls >= CHECKED_CALLS:
            return self._run(inputs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the compiler warns about itself
            try:
                gradients, stats = self._run(inputs)
            except Exception as error:  # a compiler fails in ways of its own: no C++ compiler, no Triton, a bug
                reason = (str(error).strip() or repr(error)).splitlines()[0]
                raise GrowreelError(f"--compile on: the compiler failed ({type(error).__name__}: {reason}); use --compile off") from error
        self._check(gradients, inputs)
        self.calls += 1
        return gradients, stats

    def _run(self, inputs: tuple[Any, ...]) -> tuple[Gradients, Stats]:
        parameters = dict(self.module.named_parameters())
        on_card = inputs[0].device.type == "cuda"
        if self._graph is None:
            traced = make_fx(self._with_parameters)(parameters, *inputs)
            mode = "reduce-overhead" if on_card and self.voxels <= LAUNCH_BOUND_VOXELS else "default"
            self._graph = torch.compile(traced, mode=mode, dynamic=False)
        with torch.no_grad():
            if on_card:
                torch.compiler.cudagraph_mark_step_begin()
            return self._graph(parameters, *inputs)

    def _with_parameters(self, parameters: dict[str, Tensor], *inputs: Any) -> tuple[Gradients, Stats]:
        result: tuple[Gradients, Stats] = torch.func.functional_call(self.module, parameters, inputs)
        return result

    def _check(self, gradients: Gradients, inputs: tuple[Any, ...]) -> None:
        """Compare with the module itself, and both with the module in float32."""
        plain, dtype = self.module(*inputs)[0], self.module.dtype
        self.module.dtype = torch.float32
        exact = self.module(*inputs)[0]
        self.module.dtype = dtype
        size = float(torch.stack([each.double().square().sum() for each in exact.values()]).sum().sqrt())
        ours, theirs = (distance(each, exact) / max(size, 1e-30) for each in (gradients, plain))
        if not ours <= 2 * theirs + TOLERANCE[dtype]:
            raise GrowreelError(
                f"--compile on: the compiled step of {type(self.module).__name__} is off by {ours:.2g} of its gradients on this machine, "
                f"uncompiled by {theirs:.2g}; use --compile off"
            )


def distance(gradients: Gradients, exact: Gradients) -> float:
    """Root of the summed squared differences, over all parameters."""
    return float(torch.stack([(gradients[name] - each).double().square().sum() for name, each in exact.items()]).sum().sqrt())
