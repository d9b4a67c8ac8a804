"""What `auto` becomes: by measurement when a run begins, and as it was when the run goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from conftest import tiny_config
from growreel.config import load_config
from growreel.errors import GrowreelError
from growreel.runtime import precision
from growreel.runtime.precision import bfloat16_gain, resolve_precision
from growreel.training.loop import train

CPU = torch.device("cpu")


def gains(monkeypatch: pytest.MonkeyPatch, gain: float, has_instructions: bool = True) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_instructions)
    monkeypatch.setattr(precision, "bfloat16_gain", lambda: gain)


def test_auto_takes_what_is_faster_here(monkeypatch: pytest.MonkeyPatch) -> None:
    for gain, has_instructions, expected in ((2.0, True, "bfloat16"), (0.5, True, "float32"), (2.0, False, "float32")):
        gains(monkeypatch, gain, has_instructions)
        assert resolve_precision("auto", CPU) == expected
        assert [resolve_precision(asked, CPU) for asked in ("float32", "bfloat16")] == ["float32", "bfloat16"]


def test_the_measurement_is_made_once_a_process() -> None:
    first = bfloat16_gain(1)
    assert 0.01 < first < 100
    assert bfloat16_gain(1) == first


def test_a_run_goes_on_as_it_was_begun(shapes_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gains(monkeypatch, 2.0)
    train(shapes_store, tmp_path / "run", tiny_config(precision="auto", compile="auto", clips=8), progress=False)
    gains(monkeypatch, 0.5)  # another machine, or a busy moment
    result = train(shapes_store, tmp_path / "run", tiny_config(precision="auto", compile="auto", clips=16), progress=False)
    assert result.clips_shown == 16
    assert load_config(tmp_path / "run" / "config.yaml").training.precision == "bfloat16"
    with pytest.raises(GrowreelError, match=r"training\.precision: bfloat16 -> float32"):
        train(shapes_store, tmp_path / "run", tiny_config(precision="float32", clips=24), progress=False)
