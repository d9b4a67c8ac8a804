"""The gradients of an objective as one compiled graph.

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

from growreel.training.objectives import Inputs, Objective, Stats, add

Gradients = dict[str, Tensor]
"""By the name of the parameter in the objective; parameters that had no part in the loss are left out."""
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-3, torch.bfloat16: 0.3}
"""Relative error that a compiled step may have on top of twice that of the step as it is, both against full precision. In bfloat16 single
draws differ by a tenth in small networks: values near zero are on other sides of a leaky ReLU. What compilers do wrong is larger."""


class CompilationError(Exception):
    """The compiler failed, or made something that computes something else. The message says which."""


class CompiledGradients:
    """Does what `objectives.accumulate_gradients` does. Traced with the first inputs, whose shapes must stay. Numbers of the inputs are
    not looked at while tracing, but attributes of the objective become part of the graph, and so does an alpha that is no tensor.
    """

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self._differentiated = _Differentiated(objective)
        self._graph: Callable[..., tuple[Gradients, Stats]] | None = None

    def __call__(self, inputs: Inputs, passes: int) -> Stats:
        """Add the gradients to `grad` and return the scalars. The first call compiles, and compares with the objective as it is.

        Raises CompilationError; lack of memory stays what it is.
        """
        stats = Stats()
        for k in range(passes):
            gradients, of_pass = self._run(inputs.part(slice(k, None, passes)))
            for name, parameter in self.objective.trained().items():
                if (gradient := gradients.get(name)) is not None:
                    # Laid out as the parameter: a fused optimiser takes both as plain rows of numbers.
                    part = torch.empty_like(parameter).copy_(gradient / passes)
                    parameter.grad = part if parameter.grad is None else parameter.grad.add_(part)
            add(stats, {name: value / passes for name, value in of_pass.items()})
        return stats

    def _run(self, inputs: Inputs) -> tuple[Gradients, Stats]:
        parameters = dict(self._differentiated.named_parameters())
        if self._graph is not None:
            with torch.no_grad():
                return self._graph(parameters, inputs)
        try:
            # The trace must be on this thread: on a card, backward passes run on another one.
            with warnings.catch_warnings(), torch.autograd.set_multithreading_enabled(False):
                warnings.simplefilter("ignore")  # the compiler warns about itself
                graph = torch.compile(
                    make_fx(lambda parameters, inputs: self._with_parameters(parameters, inputs))(parameters, inputs), dynamic=False
                )
                with torch.no_grad():
                    gradients, stats = graph(parameters, inputs)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # a compiler fails in ways of its own: no C++ compiler, no Triton, a bug
            reason = (str(error).strip() or repr(error)).splitlines()[0]
            raise CompilationError(f"the compiler failed ({type(error).__name__}: {reason})") from error
        self._check(gradients, inputs)
        self._graph = graph
        return gradients, stats

    def _with_parameters(self, parameters: Mapping[str, Tensor], inputs: Inputs) -> tuple[Gradients, Stats]:
        result: tuple[Gradients, Stats] = torch.func.functional_call(self._differentiated, dict(parameters), (inputs,))
        return result

    def _check(self, gradients: Gradients, inputs: Inputs) -> None:
        """Compare with the objective itself, and both with the objective in float32 where it computes in less."""
        plain, dtype = self._differentiated(inputs)[0], self.objective.dtype
        exact = plain
        if dtype == torch.bfloat16:
            self.objective.dtype = torch.float32
            exact = self._differentiated(inputs)[0]
            self.objective.dtype = dtype
        size = float(torch.stack([each.double().square().sum() for each in exact.values()]).sum().sqrt())
        ours, theirs = (distance(each, exact) / max(size, 1e-30) for each in (gradients, plain))
        if not ours <= 2 * theirs + TOLERANCE[dtype]:
            raise CompilationError(
                f"the compiled step of {type(self.objective).__name__} is off by {ours:.2g} of its gradients on this machine, "
                f"uncompiled by {theirs:.2g}"
            )


class _Differentiated(nn.Module):
    """An objective as a function from inputs to gradients."""

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        self.objective = objective

    def forward(self, inputs: Inputs) -> tuple[Gradients, Stats]:
        trained, gradients, stats = self.objective.trained(), Gradients(), Stats()
        for term in self.objective.terms(inputs):
            found: Any = torch.autograd.grad(term.value, list(trained.values()), allow_unused=True)
            add(gradients, {name: gradient for name, gradient in zip(trained, found, strict=True) if gradient is not None})
            add(stats, term.stats)
        return gradients, stats


def distance(gradients: Gradients, exact: Gradients) -> float:
    """Root of the summed squared differences, over all parameters."""
    return float(torch.stack([(gradients[name] - each).double().square().sum() for name, each in exact.items()]).sum().sqrt())
