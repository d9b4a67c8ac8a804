"""The procedural clips and the judge: real clips pass, and each rule refuses what it is there for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from conftest import colored
from growreel.config import load_preset
from growreel.data.shapes import COLORS, ShapeTrack, random_track, render, shape_clips
from growreel.evaluation.shapes_judge import judge
from growreel.growth import Size
from growreel.models import build_generator
from growreel.models.files import LoadedGenerator
from growreel.sampling import generate

SIZE = Size(8, 16, 16)


@pytest.fixture(scope="module")
def real() -> NDArray[np.uint8]:
    return np.stack(list(shape_clips(300, SIZE, seed=1)))


def test_clips_are_what_their_tracks_say() -> None:
    track = ShapeTrack("square", "red", 3.0, np.array([[8.0, 8.0], [8.0, 9.0]]))
    clip = render(track, Size(2, 16, 16))
    rows, columns = np.nonzero(clip[0, :, :, 0] > 128)
    assert (rows.mean() + 0.5, columns.mean() + 0.5) == (8.0, 8.0)
    assert tuple(clip[0, 8, 8]) == COLORS["red"] and tuple(clip[0, 0, 0]) == (12, 12, 12)
    assert np.array_equal(clip[1, :, 1:], clip[0, :, :-1])


def test_clips_depend_on_seed_and_number_alone(real: NDArray[np.uint8]) -> None:
    assert np.array_equal(np.stack(list(shape_clips(3, SIZE, seed=1))), real[:3])
    assert not np.array_equal(next(shape_clips(1, SIZE, seed=2)), real[0])


def test_all_shapes_and_colors_occur_and_stay_inside() -> None:
    tracks = [random_track(np.random.default_rng(k), SIZE) for k in range(100)]
    assert {(track.shape, track.color) for track in tracks} == {(s, c) for s in ("disc", "square") for c in COLORS}
    assert all((track.centers >= track.radius).all() and (track.centers <= 16 - track.radius).all() for track in tracks)


def test_real_clips_are_accepted(real: NDArray[np.uint8]) -> None:
    assert judge(real).accepted.mean() > 0.99
    assert judge(np.stack(list(shape_clips(64, Size(8, 32, 32))))).accepted.mean() > 0.99


def test_what_is_wrong_is_refused_by_its_rule(real: NDArray[np.uint8]) -> None:
    rng = np.random.default_rng(0)
    others = real[np.roll(np.arange(len(real)), 1)]
    two_blobs = np.maximum(real, np.roll(real, 8, axis=3))
    assert judge(two_blobs).one_blob.mean() < 0.2
    empty = real.copy()
    empty[:, 4] = 12
    assert not judge(empty).one_blob.any()
    mixed = ((real.astype(int) + real[..., ::-1]) // 2).astype(np.uint8)
    red_or_blue = np.abs(real.astype(int) - real[..., ::-1]).max(axis=(1, 2, 3, 4)) > 100
    assert not judge(mixed[red_or_blue]).right_color.any()
    two_colors = real.copy()
    two_colors[:, 4:] = real[:, 4:, ..., ::-1]  # red and blue change places half way
    assert not judge(two_colors[red_or_blue]).right_color.any()
    assert not judge(real.mean(axis=-1, keepdims=True).repeat(3, axis=-1).astype(np.uint8)).right_color.any()
    shuffled = np.stack([clip[rng.permutation(8)] for clip in real])
    assert judge(shuffled).continuous.mean() < 0.1
    assert judge(np.concatenate([real[:, :4], others[:, 4:]], axis=1)).accepted.mean() < 0.05
    assert not judge(rng.integers(0, 256, real.shape, dtype=np.uint8)).accepted.any()


def test_untrained_clips_are_refused() -> None:
    config = colored(load_preset("demo"))
    torch.manual_seed(0)
    generator = build_generator(config).requires_grad_(False)
    plan = generator.plan
    model = LoadedGenerator(generator, config, plan.position(plan.total_clips), 0, 8.0, "unstated")
    assert judge(generate(model, range(64))).accepted.mean() <= 0.05
