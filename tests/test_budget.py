"""A schedule cut to a budget: shares of the stages stay, whole steps, nothing vanishes; --hours resumes with what it began."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import tiny_config
from growreel.cli import main
from growreel.config import load_config, load_preset, preset_names, to_yaml
from growreel.config.budget import budget_factor, scale_schedule
from growreel.errors import GrowreelError
from growreel.training import budget
from growreel.training.trial import StageTimes


@given(st.sampled_from(preset_names()), st.floats(1e-4, 30))
def test_every_phase_is_scaled_by_the_same_factor(name: str, factor: float) -> None:
    growth = load_preset(name).growth
    before, after = growth.plan(), scale_schedule(growth, factor).plan()
    assert before.sizes == after.sizes and before.time_reduction == after.time_reduction
    for a, b in zip(before.stages, after.stages, strict=True):
        rest_a, rest_b = (dataclasses.replace(stage, fade_clips=0, stable_clips=1, decay_clips=None) for stage in (a, b))
        assert rest_a == rest_b
        assert (a.decay_clips is None) == (b.decay_clips is None)
        for clips, scaled in ((a.fade_clips, b.fade_clips), (a.stable_clips, b.stable_clips), (a.decay_clips or 0, b.decay_clips or 0)):
            assert scaled % a.minibatch == 0 and (scaled > 0) == (clips > 0)
            assert abs(scaled - clips * factor) <= a.minibatch


def test_the_factor_fills_the_budget() -> None:
    assert budget_factor(7200, [600, 1200, 1800]) == 2
    for factor in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(GrowreelError, match="must be above 0 and finite"):
            scale_schedule(load_preset("demo").growth, factor)


def test_hours_on_the_command_line(
    shapes_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """120 clips of 60 s take 2 h; in 1 h there are 60, half at each point; resumed on a machine twice as slow, the plan stays."""
    monkeypatch.setattr(budget, "measure_stages", lambda *_: [StageTimes(60.0, 60.0)] * 2)
    (tmp_path / "c.yaml").write_text(to_yaml(tiny_config()))
    command = ["train", str(shapes_store), "--out", str(tmp_path / "run"), "--config", str(tmp_path / "c.yaml"), "--hours", "1"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "60 clips instead of 120; every stage 0.5 times as long" in said and "done: 60 clips shown" in said
    written = load_config(tmp_path / "run" / "config.yaml").growth.plan()
    assert [(stage.fade_clips, stage.stable_clips) for stage in written.stages] == [(0, 20), (20, 20)]
    monkeypatch.setattr(budget, "measure_stages", lambda *_: [StageTimes(120.0, 120.0)] * 2)
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "keeps the schedule that it was begun with" in said and "done: 60 clips shown" in said
    assert main([*command, "--training.seed", "5"]) == 2 and "training.seed: 0 -> 5" in capsys.readouterr().err
    assert main([*command, "--clips", "40"]) == 2 and "leave one out" in capsys.readouterr().err
    assert main([*command, "--hours", "0"]) == 2 and "--hours 0.0: must be above 0 and finite" in capsys.readouterr().err


def test_a_budget_that_is_far_too_small_says_so(
    shapes_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "measure_stages", lambda *_: [StageTimes(3600.0, 3600.0)] * 2)
    (tmp_path / "c.yaml").write_text(to_yaml(tiny_config()))
    assert main(["train", str(shapes_store), "--out", str(tmp_path / "run"), "--config", str(tmp_path / "c.yaml"), "--hours", "1"]) == 0
    assert "That is little" in capsys.readouterr().out
