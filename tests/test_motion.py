"""Motion statistics against their definitions, and what each kind of damaged motion does to them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import reference_metrics as reference
from growreel.data.shapes import shape_clips
from growreel.errors import GrowreelError
from growreel.evaluation.extractors.motion import LUMA, SCALARS, MotionStatistics
from growreel.evaluation.metrics.motion import Motion
from growreel.growth import Size

extract = MotionStatistics()


def moving(count: int = 24, frames: int = 16) -> NDArray[np.uint8]:
    return np.stack(list(shape_clips(count, Size(frames, 16, 16))))


@pytest.mark.parametrize("channels", [1, 3])
def test_statistics_are_their_definitions(channels: int) -> None:
    clips = np.random.default_rng(0).integers(0, 256, (2, 9, 5, 6, channels), dtype=np.uint8)
    rows = extract(clips, range(2))
    for clip, row in zip(clips, rows, strict=True):
        gray = clip.astype(np.float64) @ np.array(LUMA) if channels == 3 else clip[..., 0].astype(np.float64)
        assert row[0] == pytest.approx(np.mean([(gray[i + 1] - gray[i]) ** 2 for i in range(8)]), rel=1e-6)
        assert row[1] == 0
        np.testing.assert_allclose(row[len(SCALARS) :], reference.temporal_power(gray), rtol=1e-5)


def test_loop_score() -> None:
    away = np.zeros((1, 8, 8, 8, 1), np.uint8)
    for t in range(8):
        away[0, t, : t + 1] = 200  # a growing bar never comes back
    swing = np.concatenate([away[:, :4], away[:, 3::-1]], axis=1)
    loop = np.tile(away[:, :4], (1, 2, 1, 1, 1))
    still = away[:, :1].repeat(8, axis=1)
    scores = [float(extract(clips, [0])[0, 2]) for clips in (away, swing, loop, still)]
    assert scores == pytest.approx([0, 1, 1, 0])
    assert [float(extract(clips, [0])[0, 1]) for clips in (away, swing, loop, still)] == [0, 0, 0, 1]


def test_a_sinusoid_has_its_power_in_one_bin() -> None:
    t = np.arange(16)
    clip = np.round(128 + 100 * np.sin(2 * np.pi * 3 * t / 16))[:, None, None, None].repeat(4, 1).repeat(4, 2).astype(np.uint8)
    power = extract(clip[None], [0])[0, len(SCALARS) :]
    assert power.argmax() == 2 and power[2] == pytest.approx(100**2 / 4, rel=0.01) and np.delete(power, 2).max() < 0.1


def test_damaged_motion_is_further_away_than_real_motion() -> None:
    clips = moving(80)
    one, other = clips[:40], clips[40:]
    rng = np.random.default_rng(0)
    padded = np.pad(other, ((0, 0), (1, 1), (0, 0), (0, 0), (0, 0)), mode="edge").astype(np.uint16)
    damaged = {
        "real": other,
        "shuffled": np.stack([clip[rng.permutation(16)] for clip in other]),
        "frozen": other[:, :1].repeat(16, axis=1),
        "blurred": ((padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) // 4).astype(np.uint8),
        "there and back": np.concatenate([other[:, :8], other[:, 7::-1]], axis=1),
    }
    real = extract(one, range(40))
    found = {name: Motion(real, extract(each, range(40)))() for name, each in damaged.items()}
    for name in ("shuffled", "frozen", "blurred", "there and back"):
        assert found[name]["spectrum_shape_distance"] > 1.5 * found["real"]["spectrum_shape_distance"], name
        assert found[name]["spectrum_distance"] > 1.5 * found["real"]["spectrum_distance"], name
    assert found["frozen"]["static_rate"] == 1 and found["real"]["static_rate"] == found["real"]["static_rate_of_real"] == 0
    assert found["there and back"]["loop_score"] == pytest.approx(1) and found["there and back"]["loop_distance"] > 0.5
    assert found["shuffled"]["energy_distance"] > 2 * found["real"]["energy_distance"]


def test_counts_are_repetitions() -> None:
    real, fake = extract(moving(6), range(6)), extract(moving(12)[6:, ::-1], range(6))
    counts = np.array([2, 0, 1, 1, 0, 2])
    ours, repeated = Motion(real, fake)(counts, None), Motion(real.repeat(counts, axis=0), fake)()
    assert ours == pytest.approx(repeated)


def test_clips_of_one_frame_are_refused() -> None:
    with pytest.raises(GrowreelError, match="at least 2 frames"):
        extract(moving(2, 4)[:, :1], range(2))


def test_clips_of_different_lengths_are_refused() -> None:
    with pytest.raises(GrowreelError, match="they must agree"):
        Motion(extract(moving(2, 8), range(2)), extract(moving(2, 16), range(2)))
