"""Which convolutions a training step asks for: none whose kernel covers its whole input.

Such a convolution is a matrix product in disguise, and libraries have no good kernel for it (seconds for a single call on a card).
PyTorch's own second derivative of a convolution is one: the gradient of a weight's gradient has a kernel as large as the clip.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from conftest import colored
from growreel.config import Config, load_preset, preset_names
from growreel.growth import Position
from growreel.training.execution import Execution
from growreel.training.state import TrainingState
from growreel.training.step import discriminator_step, fade_real, generator_step

META = torch.device("meta")  # of shapes alone: nothing is computed


class Convolutions(TorchDispatchMode):
    """Collects what is convolved: name, extents of the input, extents of the kernel.

    The input of a transposed convolution is what the plain one that it is the adjoint of would take, as libraries run it: its output.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: set[tuple[str, tuple[int, ...], tuple[int, ...]]] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.name()
        if "convolution_backward" in name:
            gradient, x, weight = args[:3]
            self._saw(name, gradient if args[7] else x, weight)
        elif "convolution" in name:
            self._saw(name, result if len(args) > 6 and args[6] is True else args[0], args[1])
        return result

    def _saw(self, name: str, x: Tensor, weight: Tensor) -> None:
        self.seen.add((name, tuple(x.shape[2:]), tuple(weight.shape[2:])))

    def covering(self) -> list[tuple[str, tuple[int, ...], tuple[int, ...]]]:
        """Those whose kernel reaches as far as the input on every axis; a single voxel is no matter."""
        return [each for each in self.seen if each[2] != (1,) * len(each[2]) and all(k >= e for e, k in zip(each[1], each[2], strict=True))]


def narrow(name: str) -> Config:
    """A preset with its plan, loss and precision, but two channels: extents do not depend on widths."""
    config = colored(load_preset(name))
    network = dataclasses.replace(config.network, base_channels=2, max_channels=2, latent_dim=4, feature_dim=4)
    precision = "float32" if config.training.precision == "auto" else config.training.precision
    return dataclasses.replace(config, network=network, training=dataclasses.replace(config.training, compile="off", precision=precision))


def stages() -> list[Any]:
    """Every stage of every preset once: presets share most of their ladders."""
    found: dict[tuple[Any, ...], Any] = {}
    for name in preset_names():
        config = load_preset(name)
        sizes = config.growth.plan().sizes
        for stage in range(len(sizes)):
            key = (sizes[: stage + 1], config.loss.name, config.training.precision)
            found.setdefault(key, pytest.param(name, stage, id=f"{name}-{sizes[stage]}"))
    return list(found.values())


@pytest.mark.parametrize(("preset", "stage"), stages())
def test_no_kernel_covers_its_input(preset: str, stage: int, monkeypatch: pytest.MonkeyPatch) -> None:
    config = narrow(preset)
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self, closure=None: None)  # it knows no meta tensors, and convolves nothing
    with Convolutions() as watched:
        train_once(config, stage)
    assert len(watched.seen) >= 2 + 3 * stage, "the steps were watched"
    assert not watched.covering()


def train_once(config: Config, stage: int) -> None:
    """A step of both networks, while the stage fades in."""
    state = TrainingState(config, META)
    position = Position(stage, "fade" if stage else "stable", 0.5 if stage else 1.0)
    real = torch.empty(2, 3, *state.plan.sizes[stage], device=META)
    discriminator_step(state, fade_real(real, state, position), position, 2, config, Execution(config.training, state.device))
    generator_step(state, real, position, 2, config, Execution(config.training, state.device))


def test_pytorchs_own_second_derivative_would_be_found() -> None:
    x, weight = torch.randn(2, 3, 4, 8, 8, requires_grad=True), torch.randn(3, 3, 3, 3, 3, requires_grad=True)
    with Convolutions() as watched:
        (gradient,) = torch.autograd.grad(torch.conv3d(x, weight, padding=1).square().sum(), x, create_graph=True)
        gradient.square().sum().backward()
    assert (4, 8, 8) in {kernel for _, _, kernel in watched.covering()}
