"""Whether what a checkpoint holds can be continued: every name, type and shape as in a run of today, every number finite."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from growreel.reading.words import plain, shown
from growreel.training.checkpoint import DamagedCheckpoint
from growreel.training.state import TrainingState

MOMENTS = {"step", "exp_avg", "exp_avg_sq"}


def check_saved(saved: Mapping[str, Any], state: TrainingState) -> None:
    """Raise DamagedCheckpoint, with the reason, unless `saved` can be loaded into `state` and gives finite numbers."""
    expected = state.state_dict()
    missing = sorted({*expected, "means"} - saved.keys())
    if missing:
        raise DamagedCheckpoint(f"{missing[0]} is missing")
    for name, module in state.modules().items():
        check_weights(name, saved[name], module.state_dict())
    for name in ("generator_optimizer", "discriminator_optimizer"):
        _check_moments(name, saved[name], getattr(state, name))
    for name in ("clips_shown", "rollbacks"):
        if type(saved[name]) is not int or not 0 <= saved[name] < 2**63:
            raise DamagedCheckpoint(f"{name} is {_short(saved[name])}")
    match saved["optimizers_for"]:
        case [int(stage), "fade" | "stable"] if 0 <= stage < len(state.plan.stages):
            pass
        case other:
            raise DamagedCheckpoint(f"optimizers_for is {_short(other)}")
    match saved["means"]:
        case {"sums": dict() as sums, "counts": dict() as counts} if sums.keys() == counts.keys():
            values = all(isinstance(v, float) and math.isfinite(v) for v in sums.values())
            if not values or not all(isinstance(n, str) for n in sums) or not all(type(n) is int and n > 0 for n in counts.values()):
                raise DamagedCheckpoint("means are no finite numbers")
        case other:
            raise DamagedCheckpoint(f"means are {_short(other)}")


def not_finite(state: TrainingState) -> str | None:
    """Return in words what of the state is not finite; None if all is."""
    for name, module in state.modules().items():
        if not all(bool(weights.isfinite().all()) for weights in module.state_dict().values()):
            return f"a weight of the {name}"
    for name in ("generator", "discriminator"):
        moments = getattr(state, f"{name}_optimizer").state_dict()["state"].values()
        if not all(bool(value.isfinite().all()) for each in moments for value in each.values() if isinstance(value, Tensor)):
            return f"a moment of the {name}'s optimiser"
    return None


def check_weights(name: str, saved: Any, expected: Mapping[str, Tensor]) -> None:
    """Raise DamagedCheckpoint, naming the module, unless a state dict has the names, types and shapes that are expected, all finite."""
    if not isinstance(saved, Mapping):
        raise DamagedCheckpoint(f"{name} is {_short(saved)}")
    if differing := sorted(map(str, saved.keys() ^ expected.keys())):
        raise DamagedCheckpoint(f"{name}: {plain(differing[0])} is {'missing' if differing[0] in expected else 'not known'}")
    for key, wanted in expected.items():
        _check_tensor(f"{name}: {key}", saved[key], wanted)


def _check_moments(name: str, saved: Any, optimizer: torch.optim.Optimizer) -> None:
    """Adam's moments, by the number of the parameter; a parameter that took part in no step has none."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if not isinstance(saved, Mapping) or not isinstance(saved.get("state"), Mapping):
        raise DamagedCheckpoint(f"{name} is {_short(saved)}")
    for number, moments in saved["state"].items():
        where = f"{name}: moments of parameter {_short(number)}"
        if type(number) is not int or not 0 <= number < len(parameters):
            raise DamagedCheckpoint(f"{where} are not known")
        if not isinstance(moments, Mapping) or moments.keys() != MOMENTS:
            raise DamagedCheckpoint(f"{where} are {_short(moments)}")
        wanted = {"step": torch.zeros(()), "exp_avg": parameters[number], "exp_avg_sq": parameters[number]}
        for key, tensor in wanted.items():
            _check_tensor(f"{where}: {key}", moments[key], tensor)


def _check_tensor(where: str, saved: Any, wanted: Tensor) -> None:
    if not isinstance(saved, Tensor) or saved.dtype != wanted.dtype:
        raise DamagedCheckpoint(f"{where} is {_short(saved)}")
    if saved.shape != wanted.shape:
        raise DamagedCheckpoint(f"{where} has shape {list(saved.shape)} instead of {list(wanted.shape)}")
    if not bool(saved.isfinite().all()):
        raise DamagedCheckpoint(f"{where} is not finite")


def _short(value: Any) -> str:
    """A value in a message, without a page of numbers."""
    if isinstance(value, Tensor):
        return f"a tensor of {value.dtype}"
    return shown(value) if isinstance(value, int | float | None) else f"of type {type(value).__name__}"
