"""What is recorded on a card is kept for its stage and phase, and let go with the next. A stand-in runs what would be recorded."""

from __future__ import annotations

import dataclasses
import gc
import weakref
from typing import Any, ClassVar

import pytest
import torch

from conftest import colored, tiny_config
from growreel.config import Config
from growreel.growth import Position
from growreel.training import execution as execution_module
from growreel.training.execution import Compute, Execution
from growreel.training.objectives import Inputs, Objective, Stats
from growreel.training.state import TrainingState
from growreel.training.step import discriminator_step, generator_step

CPU, CARD = torch.device("cpu"), torch.device("cuda", 0)
FIRST, FADE, STABLE = Position(0, "stable", 1.0), Position(1, "fade", 0.25), Position(1, "stable", 1.0)


class Stand:
    """In place of a recording: computes what it was made from, and remembers with what it was made and called."""

    made: ClassVar[list[weakref.ref[Stand]]] = []

    def __init__(self, objective: Objective, compute: Compute, pool: Any) -> None:
        self.objective, self.compute, self.pool = objective, compute, pool
        self.alphas: list[float | torch.Tensor] = []
        Stand.made.append(weakref.ref(self))

    def __call__(self, inputs: Inputs, passes: int) -> Stats:
        self.alphas.append(inputs.alpha)
        return self.compute(inputs, passes)


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Recordings are stand-ins; the pools that were asked for."""
    Stand.made, given = [], list[object]()

    def pool() -> object:
        given.append(object())
        return given[-1]

    monkeypatch.setattr(execution_module, "RecordedGradients", Stand)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", pool)
    return given


def alive() -> list[Stand]:
    gc.collect()
    return [stand for each in Stand.made if (stand := each()) is not None]


def kinds() -> list[str]:
    return sorted(type(stand.objective).__name__[:3] for stand in alive())


def take_steps(state: TrainingState, execution: Execution, config: Config, position: Position, count: int = 1) -> None:
    real = torch.zeros(4, 3, *state.plan.sizes[position.stage])
    for _ in range(count):
        discriminator_step(state, real, position, 4, config, execution)
        generator_step(state, real, position, 4, config, execution)
        state.clips_shown += 4


def test_a_recording_of_each_network_is_kept_for_its_phase(pools: list[object]) -> None:
    config = colored(tiny_config())
    state, execution = TrainingState(config, CPU), Execution(config.training, CARD)
    take_steps(state, execution, config, FIRST, count=3)
    assert kinds() == ["Dis", "Gen"] and len(Stand.made) == 2, "made once, used three times"
    assert all(len(stand.alphas) == 3 and stand.alphas[0] == 1.0 and stand.pool is pools[0] for stand in alive())
    take_steps(state, execution, config, FADE, count=2)
    assert len(Stand.made) == 4 and kinds() == ["Dis", "Gen"], "those of the stage before are gone"
    assert all(stand.pool is pools[1] for stand in alive()) and len(pools) == 2, "one pool a phase"
    assert all(isinstance(alpha, torch.Tensor) and float(alpha) == 0.25 for stand in alive() for alpha in stand.alphas)
    take_steps(state, execution, config, STABLE)
    assert len(Stand.made) == 6 and kinds() == ["Dis", "Gen"] and len(pools) == 3
    take_steps(state, execution, config, FADE)
    assert len(Stand.made) == 8, "after a rollback into the fade it is recorded anew"


def test_steps_with_and_without_the_penalty_have_recordings_of_their_own(pools: list[object]) -> None:
    config = colored(tiny_config())
    config = dataclasses.replace(config, loss=dataclasses.replace(config.loss, penalty_interval=2))
    state, execution = TrainingState(config, CPU), Execution(config.training, CARD)
    take_steps(state, execution, config, FIRST, count=4)
    assert kinds() == ["Dis", "Dis", "Gen"] and len(pools) == 1
    assert sorted(len(stand.alphas) for stand in alive()) == [2, 2, 4]


def test_what_keeps_the_card_busy_is_not_recorded(pools: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    config = colored(tiny_config())
    state, execution = TrainingState(config, CPU), Execution(config.training, CARD)
    monkeypatch.setattr(execution_module, "RECORDED_VOXELS", state.plan.sizes[0].voxels)
    take_steps(state, execution, config, FADE)
    assert not Stand.made
    take_steps(state, execution, config, FIRST)
    assert len(Stand.made) == 2


@pytest.mark.parametrize(("device", "asked", "made"), [(CARD, True, 2), (CARD, False, 0), (CPU, True, 0)])
@pytest.mark.usefixtures("pools")
def test_steps_are_recorded_on_cards_if_asked_for(device: torch.device, asked: bool, made: int) -> None:
    config = colored(tiny_config(cuda_graphs=asked))
    take_steps(TrainingState(config, CPU), Execution(config.training, device), config, FIRST)
    assert len(Stand.made) == made


@pytest.mark.usefixtures("pools")
def test_a_recorded_step_is_the_plain_one() -> None:
    """With alpha as a tensor and what is kept between steps: the same weights."""
    config = colored(tiny_config(precision="float64"))
    states = [TrainingState(config, CPU) for _ in range(2)]
    for state, device in zip(states, (CPU, CARD), strict=True):
        execution = Execution(config.training, device)
        for position in (FIRST, FADE, STABLE):
            real = torch.rand(4, 3, *state.plan.sizes[position.stage], generator=torch.Generator().manual_seed(1)).double()
            discriminator_step(state, real, position, 4, config, execution)
            generator_step(state, real, position, 4, config, execution)
    for name, module in states[0].modules().items():
        torch.testing.assert_close(states[1].modules()[name].state_dict(), module.state_dict(), rtol=1e-12, atol=1e-12)
