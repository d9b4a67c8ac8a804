"""The moving average forgets by clips shown, not by steps."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from conftest import tiny_config
from growreel.config import Config, load_config, load_preset
from growreel.errors import GrowreelError
from growreel.training.average import ema_weight


def left_after(config: Config, start: int, clips: int, minibatch: int) -> float:
    """What is left of the average at `start` after so many more clips, by applying every update."""
    shown = range(start + minibatch, start + clips + 1, minibatch)
    return math.prod(1 - ema_weight(config, each, minibatch) for each in shown)


@pytest.mark.parametrize("minibatch", [4, 8, 16, 32])
def test_half_is_left_after_the_half_life_whatever_the_minibatch(minibatch: int) -> None:
    config = tiny_config(ema_decay=None, ema_halflife_clips=6400, ema_rampup=0.05)
    assert left_after(config, 10**6, 6400, minibatch) == pytest.approx(0.5)
    assert left_after(config, 10**6, 640, minibatch) == pytest.approx(0.5**0.1)


def test_the_default_is_ten_thousand_clips() -> None:
    assert left_after(Config(), 10**6, 10_000, 4) == pytest.approx(0.5)


def test_the_beginning_is_soon_forgotten() -> None:
    """With a ramp of r the half-life at n clips is r n, so from n to 2 n about 2^-(ln 2 / r) is left: less than a thousandth."""
    config = tiny_config(ema_decay=None, ema_halflife_clips=10_000, ema_rampup=0.05)
    assert left_after(config, 1_000, 1_000, 4) == pytest.approx(0.5 ** (math.log(2) / 0.05), rel=0.05)
    without = tiny_config(ema_decay=None, ema_halflife_clips=10_000, ema_rampup=None)
    assert left_after(without, 1_000, 1_000, 4) == pytest.approx(0.5**0.1)
    assert ema_weight(config, 0, 4) == 1 == ema_weight(tiny_config(ema_decay=None, ema_halflife_clips=0), 100, 4)


def test_configurations_with_a_decay_per_step_mean_what_they_meant(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text("training: {ema_decay: 0.997}\n")
    old = load_config(tmp_path / "old.yaml")
    assert {ema_weight(old, clips, n) for clips in (8, 10**6) for n in (4, 32)} == {1 - 0.997}
    assert ema_weight(load_preset("paper"), 10**6, 4) == 1 - 0.999


@pytest.mark.parametrize(("preset", "decay"), [("demo", 0.99), ("weizmann-64", 0.995), ("best", 0.997)])
def test_presets_keep_their_average(preset: str, decay: float) -> None:
    """What they were measured with, at their minibatch of 8, once the ramp is over."""
    assert 1 - ema_weight(load_preset(preset), 10**6, 8) == pytest.approx(decay, abs=1e-5)


def test_two_lengths_of_the_average_are_one_too_many() -> None:
    with pytest.raises(GrowreelError, match=r"--training.ema_halflife_clips 100, --training.ema_decay 0.9: both say"):
        tiny_config(ema_halflife_clips=100)
