"""Compiled steps: the graph that is traced is the step, and a compiler that fails or errs is found out."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from conftest import colored, tiny_config, with_other_networks
from growreel.config import Config, LossConfig, TrainingConfig, load_config, to_yaml
from growreel.errors import GrowreelError
from growreel.growth import Position
from growreel.runtime.precision import resolve_compile
from growreel.training.execution import Execution
from growreel.training.state import TrainingState
from growreel.training.step import discriminator_step, generator_step

CPU = torch.device("cpu")


def config(loss: LossConfig | None = None, microbatch: int | None = None, **training: Any) -> Config:
    plain = colored(tiny_config(**training))
    growth = dataclasses.replace(plain.growth, minibatch=8, microbatch=microbatch)
    # At Adam's usual eps of 1e-8 gradients that are mere rounding take whole steps, either way.
    optimizer = dataclasses.replace(plain.optimizer, eps=1e-2)
    return dataclasses.replace(plain, growth=growth, loss=loss or plain.loss, optimizer=optimizer)


def trained(config: Config, alphas: tuple[float, ...] = (0.4,), seed: int = 0) -> tuple[TrainingState, list[dict[str, Tensor]]]:
    """State and scalars after a step of both networks at each alpha, at the second stage; 1 is its stable phase."""
    state, execution = TrainingState(config, CPU), Execution(config.training, CPU)
    real = (torch.rand(8, 3, 4, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1).to(state.dtype)
    scalars = []
    for alpha in alphas:
        position = Position(1, "fade" if alpha < 1 else "stable", alpha)
        both = (discriminator_step, generator_step)
        classes = torch.arange(8) % 3 if config.network.classes else None
        scalars.append({name: value for step in both for name, value in step(state, real, position, 8, config, execution, classes).items()})
        state.clips_shown += 8
    return state, scalars


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Graphs run as traced, without the compiler; how often one was made."""
    made: list[Any] = []

    def compile_nothing(graph: torch.fx.GraphModule, **_: Any) -> torch.fx.GraphModule:
        made.append(graph)
        return graph

    monkeypatch.setattr(torch, "compile", compile_nothing)
    return made


@pytest.mark.parametrize(
    "options",
    [{"precision": "float64"}, {"precision": "float64", "augment_probability": 0.8}, {"precision": "bfloat16"}],
    ids=["plain", "augment", "bfloat16"],
)
@pytest.mark.parametrize("name", ["swgan", "wgan-gp", "relativistic", "san"])
def test_the_graph_is_the_step(name: Any, options: dict[str, Any], uncompiled: list[Any]) -> None:
    """One graph for each network and phase serves every alpha and, in two passes, every part; parameters are inputs, so it learns."""
    alphas = (0.4, 0.7, 1.0)
    plain, expected = trained(config(LossConfig(name=name), **options), alphas)
    state, scalars = trained(config(LossConfig(name=name), microbatch=4, compile="on", **options), alphas)
    assert len(uncompiled) == 4
    rtol, atol = (0.05, 0.01) if options["precision"] == "bfloat16" else (1e-8, 1e-9)
    for ours, theirs in zip(scalars, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=rtol, atol=atol)
    for name, module in state.modules().items():
        torch.testing.assert_close(module.state_dict(), plain.modules()[name].state_dict(), rtol=rtol, atol=atol)


def test_the_graph_of_other_networks_is_their_step(uncompiled: list[Any]) -> None:
    ours, theirs = (
        with_other_networks(config(LossConfig(name="relativistic"), precision="float64", compile=each)) for each in ("on", "off")
    )
    (state, scalars), (plain, expected) = trained(ours, (0.4, 1.0)), trained(theirs, (0.4, 1.0))
    assert uncompiled
    for made, wanted in zip(scalars, expected, strict=True):
        torch.testing.assert_close(made, wanted, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(state.weights(), plain.weights(), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", ["swgan", "san"])
def test_the_graph_of_a_conditional_step_is_the_step(name: Any, uncompiled: list[Any]) -> None:
    """In two passes: the classes of each are inputs of one graph."""
    measured = []
    for microbatch, compiles in ((4, "on"), (None, "off")):
        each = config(LossConfig(name=name), microbatch, precision="float64", compile=compiles)
        network = dataclasses.replace(each.network, conditional=True, classes=("a", "b", "c"))
        measured.append(trained(dataclasses.replace(each, network=network), (0.4, 1.0)))
    (state, scalars), (plain, expected) = measured
    assert len(uncompiled) == 4
    for made, wanted in zip(scalars, expected, strict=True):
        torch.testing.assert_close(made, wanted, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(state.weights(), plain.weights(), rtol=1e-8, atol=1e-9)


def test_steps_without_penalty_have_a_graph_of_their_own(uncompiled: list[Any]) -> None:
    loss = dataclasses.replace(config().loss, penalty_interval=2)
    _, scalars = trained(config(loss, compile="on"), (0.4, 0.5, 0.6, 0.7))
    assert len(uncompiled) == 3
    assert ["gradient_penalty" in each for each in scalars] == [True, False, True, False]


@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="needs a C++ compiler")
def test_the_compiler_compiles_a_step() -> None:
    """The real one, on the smaller of the graphs."""
    exact = config(precision="float64"), config(precision="float64", compile="on")
    states, executions = [TrainingState(each, CPU) for each in exact], [Execution(each.training, CPU) for each in exact]
    before = states[0].generator.dense.weight.detach().clone()
    real, position = torch.zeros(8, 3, 2, 4, 4, dtype=torch.float64), Position(0, "stable", 1.0)
    for _ in range(2):
        expected, measured = (
            generator_step(state, real, position, 8, each, execution)
            for state, each, execution in zip(states, exact, executions, strict=True)
        )
        torch.testing.assert_close(measured, expected, rtol=1e-8, atol=1e-9)
    assert not torch.equal(states[1].generator.dense.weight, before), "it learns"


def test_a_compiler_that_errs_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(graph: torch.fx.GraphModule, **_: Any) -> Any:
        def run(*inputs: Any) -> Any:
            gradients, stats = graph(*inputs)
            return {name: gradient * 1.01 for name, gradient in gradients.items()}, stats

        return run

    monkeypatch.setattr(torch, "compile", wrong)
    with pytest.raises(GrowreelError, match=r"step of DiscriminatorObjective is off by 0\.01 .*, uncompiled by 0; use --compile off"):
        trained(config(compile="on"))


def test_a_compiler_that_fails_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        def run(*_: Any) -> Any:
            raise RuntimeError("no C++ compiler\nmore")

        return run

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(GrowreelError, match=r"--compile on: the compiler failed \(RuntimeError: no C\+\+ compiler\); use --compile off"):
        trained(config(compile="on"))


@pytest.mark.parametrize("fault", ["fails", "errs"])
def test_auto_goes_on_without_a_compiler_that_fails(fault: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def compiled(graph: torch.fx.GraphModule, **_: Any) -> Any:
        def run(*inputs: Any) -> Any:
            if fault == "fails":
                raise RuntimeError("no C++ compiler")
            gradients, stats = graph(*inputs)
            return {name: gradient * 2 for name, gradient in gradients.items()}, stats

        return run

    monkeypatch.setattr(torch, "compile", compiled)
    plain, expected = trained(config())
    monkeypatch.setattr("growreel.training.execution.resolve_compile", lambda training, device: "on")
    state, scalars = trained(config(compile="auto"))
    assert caplog.text.count("--compile auto: the compile") == 1 and "going on without" in caplog.text
    torch.testing.assert_close(scalars, expected, rtol=0, atol=0)
    torch.testing.assert_close(state.generator.state_dict(), plain.generator.state_dict(), rtol=0, atol=0)


def test_lack_of_memory_is_not_called_a_failure_of_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def compiled(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(torch, "compile", compiled)
    with pytest.raises(GrowreelError, match=r"memory does not suffice .*\(out of memory\)"):
        trained(config(compile="on"))


def test_auto_is_off_on_a_cpu() -> None:
    choices: tuple[Literal["auto", "on", "off"], ...] = ("auto", "on", "off")
    assert [resolve_compile(TrainingConfig(compile=choice), CPU) for choice in choices] == ["off", "on", "off"]
    with pytest.raises(GrowreelError, match=r"--compile on, --training\.recompute_voxels 8: .* leave one out"):
        TrainingConfig(compile="on", recompute_voxels=8)


def test_yaml_reads_on_and_off_as_truth_values(tmp_path: Path) -> None:
    for word, value in (("on", "on"), ("off", "off"), ("auto", "auto"), ("'on'", "on")):
        (tmp_path / "c.yaml").write_text(f"training: {{compile: {word}}}")
        read = load_config(tmp_path / "c.yaml")
        assert read.training.compile == value
        (tmp_path / "again.yaml").write_text(to_yaml(read))
        assert load_config(tmp_path / "again.yaml") == read
