"""Sick runs are named, healthy ones are not. Lines are made from the bands; ten of the project's own runs are in tests/data/healthy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from growreel.config import Config, from_dict
from growreel.training.diagnosis import RECENT, critic_band, diagnose

HEALTHY = sorted((Path(__file__).parent / "data" / "healthy").glob("*.json"))
CONFIG = from_dict({"growth": {"stages": ["4x4x4", "8x8x8"]}, "loss": {"name": "wgan-gp"}}, "test")


def run(changes: dict[str, Any] | None = None, config: Config = CONFIG) -> list[dict[str, Any]]:
    """Twelve lines of a healthy run: stage, fade, stage. `changes` of the last six."""
    rng, lines = np.random.default_rng(0), []
    for k in range(12):
        stage, phase = ("4x4x4", "stable") if k < 4 else ("8x8x8", "fade" if k < 6 else "stable")
        low, high = critic_band(config.loss, config.growth.plan(), stage)
        gap = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        line = {"clips": 1000 * (k + 1), "stage": stage, "phase": phase, "loss_discriminator": 0.0}
        line |= {"critic_real": gap / 2, "critic_fake": -gap / 2, "critic_slope": 0.5, "by_heart": 0.2}
        line |= {"variety": float(rng.uniform(0.6, 1.2)), "brightness": float(rng.uniform(-0.1, 0.1))}
        lines.append(line | ((changes or {}) if k >= 6 else {}))
    return lines


@pytest.mark.parametrize(
    ("sickness", "level", "words", "changes"),
    [
        ("dead critic", "bad", "learns nothing any more", {"critic_real": 1e-4, "critic_fake": 0.0, "critic_slope": 1e-6}),
        ("exploding critic", "bad", "out of proportion", {"critic_real": 900.0, "critic_fake": -900.0}),
        ("collapse", "bad", "nearly the same clip", {"variety": 0.04}),
        ("learnt by heart", "look", "90% of its gap", {"by_heart": 0.9}),
    ],
)
def test_sick_runs_are_named(sickness: str, level: str, words: str, changes: dict[str, float]) -> None:
    lines = run(changes)
    (finding,) = diagnose(lines, CONFIG)
    assert (finding.sickness, finding.level) == (sickness, level) and words in finding.text
    assert not diagnose(lines[: 6 + RECENT - 1], CONFIG), "it has to last"
    assert not diagnose(run(), CONFIG)


def test_a_fade_that_jumps_is_named() -> None:
    lines = run()
    lines[4]["variety"] = 0.1
    (finding,) = diagnose(lines[:5], CONFIG)
    assert finding.sickness == "fade that jumps" and "from 4,000 to 5,000 clips" in finding.text
    lines = run()
    lines[5]["brightness"] = lines[3]["brightness"] + 0.5
    assert [finding.sickness for finding in diagnose(lines, CONFIG)] == ["fade that jumps"]


@pytest.mark.parametrize("path", HEALTHY, ids=[path.stem for path in HEALTHY])
def test_healthy_runs_are_left_alone(path: Path) -> None:
    kept = json.loads(path.read_text(encoding="utf-8"))
    config = from_dict(kept["config"], str(path))
    for end in range(1, len(kept["lines"]) + 1):
        assert not diagnose(kept["lines"][:end], config)


def test_ten_healthy_runs_are_kept() -> None:
    assert len(HEALTHY) >= 10


def test_lines_of_older_runs_are_read() -> None:
    """They have no vital signs; a loss and a stage that no run of the study had takes the widest band of the loss."""
    lines = [{name: line[name] for name in ("clips", "stage", "phase", "critic_real", "critic_fake")} for line in run()]
    assert not diagnose(lines, CONFIG)
    low, high = critic_band(CONFIG.loss, CONFIG.growth.plan(), "32x64x64")
    assert low <= critic_band(CONFIG.loss, CONFIG.growth.plan(), "8x8x8")[0] and high >= 1
