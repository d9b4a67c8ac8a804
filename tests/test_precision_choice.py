"""What `precision: auto` becomes: the convolution that is measured, what is refused, what is chosen, and what a run remembers of it."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import tiny_config
from growreel.config import TrainingConfig, load_config
from growreel.errors import GrowreelError
from growreel.runtime import convolution_check, precision_choice
from growreel.runtime.convolution_check import ConvolutionShape, Finding, Version, check_convolution, cudnn_version, known_faults
from growreel.runtime.precision import Arithmetic
from growreel.runtime.precision_choice import choose_precision, resolve_precision, resolve_training
from growreel.training.loop import train

CPU, CARD = torch.device("cpu"), torch.device("cuda", 0)
SMALL = ConvolutionShape(2, 8, 4, 6, 8)


def finding(precision: Arithmetic, seconds: float, error: float = 1e-7, **other: Any) -> Finding:
    return Finding(precision, (1e-7, error, 1e-7), seconds, **other)


def test_a_convolution_is_held_against_float64() -> None:
    full, rounded = check_convolution(CPU, ("float32", "bfloat16"), [SMALL])
    assert 0 < max(full.errors) < 1e-6 < 1e-3 < min(rounded.errors) and max(rounded.errors) < 2e-2
    assert full.refusal is None and rounded.refusal is None
    assert all(0 < each.seconds < math.inf for each in (full, rounded))
    assert full.operations == 3 * 2 * 27 * 8 * 8 * 2 * 4 * 6 * 8, "two for every output value, channel and voxel of the kernel, three times"
    assert str(full).startswith("float32: ") and " ms, error " in str(full)


def test_an_error_in_any_of_the_three_results_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """In bfloat16 alone, as kernels of libraries have it: a hundredth off the gradient by the kernel, or nothing but NaN."""
    plain = convolution_check._Convolution.__call__
    for factor, passes in ((1.0, True), (1.05, False), (math.nan, False)):

        def run(self: Any, factor: float = factor) -> tuple[torch.Tensor, ...]:
            output, by_clips, by_kernel = plain(self)
            return output, by_clips, by_kernel * (factor if by_kernel.dtype == torch.bfloat16 else 1.0)

        monkeypatch.setattr(convolution_check._Convolution, "__call__", run)
        full, rounded = check_convolution(CPU, ("float32", "bfloat16"), [SMALL])
        assert full.refusal is None
        assert rounded.refusal == (None if passes else "its error is beyond 0.02")


def test_what_a_device_cannot_do_is_refused_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = convolution_check._Convolution.__call__

    def run(self: Any) -> tuple[torch.Tensor, ...]:
        if self.clips.dtype == torch.bfloat16:
            raise RuntimeError("no engine\nmore")
        return plain(self)

    monkeypatch.setattr(convolution_check._Convolution, "__call__", run)
    full, rounded = check_convolution(CPU, ("float32", "bfloat16"), [SMALL, SMALL._replace(clips=3)])
    assert full.refusal is None and full.operations == SMALL._replace(clips=3).operations
    assert rounded.refusal == "it fails (no engine)" and "no result" in str(rounded)


def test_what_is_emulated_is_timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, plain = list[torch.dtype](), convolution_check._Convolution.__call__

    def run(self: Any) -> tuple[torch.Tensor, ...]:
        calls.append(self.clips.dtype)
        return plain(self)

    monkeypatch.setattr(convolution_check._Convolution, "__call__", run)
    monkeypatch.setattr(convolution_check, "HOPELESS_SECONDS", 0.0)
    passed = iter([0.0, 1.0, 1.0, 100.0, *map(float, range(101, 1000))])
    monkeypatch.setattr("time.perf_counter", lambda: next(passed))
    _, slow = check_convolution(CPU, ("float32", "bfloat16"), [SMALL])
    assert calls.count(torch.bfloat16) == 1 and slow.seconds == 99
    assert calls.count(torch.float32) == 1 + convolution_check.ROUNDS


@pytest.mark.parametrize(
    ("version", "wrong"),
    [
        ((8, 9, 7), []),
        ((9, 7, 1), []),
        ((9, 8, 0), ["bfloat16"]),
        ((9, 10, 1), ["bfloat16"]),
        ((9, 10, 2), ["bfloat16", "tf32"]),
        ((9, 14, 0), ["bfloat16", "tf32"]),
        ((9, 15, 0), ["tf32"]),
        ((9, 15, 1), []),
        (None, []),
    ],
)
def test_versions_of_cudnn(version: Version | None, wrong: list[str]) -> None:
    assert [fault.precision for fault in known_faults(version)] == wrong


def test_how_cudnn_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    for number, version in ((90800, (9, 8, 0)), (91002, (9, 10, 2)), (8907, (8, 9, 7)), (None, None)):
        monkeypatch.setattr(torch.backends.cudnn, "version", lambda number=number: number)
        assert cudnn_version() == version
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 3005001)
    assert cudnn_version() is None, "AMD's library counts otherwise"


@pytest.mark.parametrize(
    ("findings", "chosen"),
    [
        ([finding("float32", 1.0), finding("tf32", 0.5), finding("bfloat16", 0.2)], "bfloat16"),
        ([finding("float32", 1.0), finding("tf32", 0.5), finding("bfloat16", 0.6)], "tf32"),
        ([finding("float32", 1.0), finding("bfloat16", 0.9)], "float32"),
        ([finding("float32", 1.0), finding("bfloat16", 2.0)], "float32"),
        ([finding("float32", 1.0), finding("tf32", 0.5), finding("bfloat16", 0.2, error=0.03)], "tf32"),
        ([finding("float32", 1.0), finding("tf32", 0.5, error=0.003), finding("bfloat16", 0.2, error=math.nan)], "float32"),
        ([finding("float32", 1.0), finding("tf32", 0.5, known_fault="x"), finding("bfloat16", 0.2, known_fault="y")], "float32"),
        ([finding("float32", 1.0, error=1e-3), finding("tf32", 0.9), finding("bfloat16", 0.95)], "tf32"),
    ],
)
def test_the_fastest_that_is_right(findings: list[Finding], chosen: str) -> None:
    assert choose_precision(findings, CARD) == chosen


def test_none_is_right() -> None:
    with pytest.raises(GrowreelError, match=r"--training.precision auto: no precision convolves right on cuda:0 \(float32: 1e\+03 ms"):
        choose_precision([finding("float32", 1.0, error=0.1), Finding("bfloat16", failure="no engine")], CARD)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> None:
    """What PyTorch would say of a card of 2020 or later, with a cuDNN that is wrong in bfloat16 and TF32."""
    precision_choice._measured.cache_clear()
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91002)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)


@pytest.mark.usefixtures("card")
def test_a_card_is_measured_once_and_all_is_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    asked: list[Any] = []

    def check(device: torch.device, precisions: tuple[Arithmetic, ...]) -> list[Finding]:
        asked.append((device, precisions))
        return [finding("float32", 1.0), finding("tf32", 0.5), finding("bfloat16", 0.2, known_fault="this")]

    monkeypatch.setattr(precision_choice, "check_convolution", check)
    with caplog.at_level(logging.INFO, "growreel"):
        assert [resolve_precision("auto", CARD) for _ in range(2)] == ["tf32"] * 2
    assert asked == [(CARD, ("float32", "tf32", "bfloat16"))]
    assert len(caplog.messages) == 3
    assert caplog.messages[2] == (
        "a convolution on cuda:0, bfloat16: 200 ms, error 1.0e-07, refused: this version of cuDNN is known for this"
    )
    precision_choice._measured.cache_clear()


@pytest.mark.usefixtures("card")
def test_a_precision_by_name_is_used_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert resolve_training(TrainingConfig(precision="bfloat16"), CARD).precision == "bfloat16"
    assert ["cuDNN 9.10.2 is known for bfloat16" in message for message in caplog.messages] == [True]
    caplog.clear()
    resolve_training(TrainingConfig(precision="bfloat16", penalty_precision="tf32"), CARD)
    assert len(caplog.messages) == 2
    caplog.clear()
    resolve_training(TrainingConfig(precision="float32"), CARD)
    assert not caplog.messages


def cpu_convolves(monkeypatch: pytest.MonkeyPatch, gain: float, has_instructions: bool = True) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_instructions)
    monkeypatch.setattr(precision_choice, "_measured", lambda *_: [finding("float32", 1.0), finding("bfloat16", 1 / gain)])


def test_auto_takes_what_is_faster_here(monkeypatch: pytest.MonkeyPatch) -> None:
    for gain, has_instructions, expected in ((2.0, True, "bfloat16"), (0.5, True, "float32"), (2.0, False, "float32")):
        cpu_convolves(monkeypatch, gain, has_instructions)
        assert resolve_precision("auto", CPU) == expected
        assert [resolve_precision(asked, CPU) for asked in ("float32", "bfloat16")] == ["float32", "bfloat16"]
    assert resolve_precision("auto", torch.device("meta")) == "float32"


def test_a_run_goes_on_as_it_was_begun(shapes_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu_convolves(monkeypatch, 2.0)
    train(shapes_store, tmp_path / "run", tiny_config(precision="auto", compile="auto", clips=8), progress=False)
    cpu_convolves(monkeypatch, 0.5)  # another machine, or a busy moment
    result = train(shapes_store, tmp_path / "run", tiny_config(precision="auto", compile="auto", clips=16), progress=False)
    assert result.clips_shown == 16
    assert load_config(tmp_path / "run" / "config.yaml").training.precision == "bfloat16"
    with pytest.raises(GrowreelError, match=r"training\.precision: bfloat16 -> float32"):
        train(shapes_store, tmp_path / "run", tiny_config(precision="float32", clips=24), progress=False)
