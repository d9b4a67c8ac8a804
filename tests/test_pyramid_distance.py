"""Laplacian pyramids, their patches, and the sliced Wasserstein distance, against an independent reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import reference_metrics as reference
from growreel.errors import GrowreelError
from growreel.evaluation.extractors.patches import PyramidPatches, laplacian_pyramid, pyramid_levels
from growreel.evaluation.metrics.sliced import SlicedWasserstein, wasserstein_1d
from growreel.growth import Size
from growreel.runtime.randomness import Purpose, keyed_rng

SIZES = [Size(1, 32, 32), Size(8, 32, 64), Size(7, 33, 45), Size(5, 16, 16), Size(2, 4, 6), Size(16, 64, 64)]


def noise(count: int, size: Size, channels: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, *size, channels), dtype=np.uint8)


def smooth(count: int, size: Size, seed: int = 0) -> NDArray[np.uint8]:
    """Gradients that drift: clips with edges at every scale, each its own."""
    rng = np.random.default_rng(seed)
    t, y, x = np.meshgrid(*(np.arange(extent) for extent in size), indexing="ij")
    waves = [np.sin((x * a + y * b + t * c) / 9 + d) for a, b, c, d in rng.normal(0, 1, (count, 4)) * (2, 2, 2, 9)]
    return np.stack([(127.5 + 127.5 * np.stack([w, w**3, -w], axis=-1)).astype(np.uint8) for w in waves])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("space_time", [False, True])
def test_pyramid_equals_the_reference(size: Size, space_time: bool) -> None:
    clip = noise(1, size)
    levels = pyramid_levels(size, space_time)
    bands = laplacian_pyramid(torch.from_numpy(clip).movedim(-1, 1).double(), levels)
    expected = reference.laplacian_pyramid(clip[0].astype(np.float64), space_time)
    assert [band.shape[2:] for band in bands] == [band.shape[:3] for band in expected] == [tuple(level) for level in levels]
    for ours, theirs in zip(bands, expected, strict=True):
        np.testing.assert_allclose(ours[0].movedim(0, -1).numpy(), theirs, atol=1e-9)


def test_levels_stop_at_16_pixels_and_4_frames() -> None:
    assert [str(level) for level in pyramid_levels(Size(32, 256, 256), True)] == [
        "32x256x256",
        "16x128x128",
        "8x64x64",
        "4x32x32",
        "4x16x16",
    ]
    assert [str(level) for level in pyramid_levels(Size(16, 64, 64), False)] == ["16x64x64", "16x32x32", "16x16x16"]
    assert pyramid_levels(Size(4, 8, 8), True) == (Size(4, 8, 8),)


@pytest.mark.parametrize("space_time", [False, True])
def test_patches_are_windows_of_the_pyramid_and_depend_on_the_clip_alone(space_time: bool) -> None:
    size = Size(8, 32, 40)
    clips = noise(3, size)
    extractor = PyramidPatches(size, 3, 6, space_time, seed=1)
    rows = extractor(clips, [5, 9, 2])
    assert rows.shape == (3, 2, 6, 3, 3 if space_time else 1, 7, 7)
    np.testing.assert_array_equal(rows[2:], extractor(clips[2:], [2]))
    assert not np.array_equal(rows[2:], extractor(clips[2:], [3]))
    for level, band in enumerate(reference.laplacian_pyramid(clips[1].astype(np.float64), space_time)):
        windows = np.lib.stride_tricks.sliding_window_view(band.transpose(3, 0, 1, 2), rows.shape[4:], axis=(1, 2, 3))
        for patch in rows[1, level]:
            distance = np.abs(windows.transpose(1, 2, 3, 0, 4, 5, 6) - patch).max(axis=(3, 4, 5, 6))
            assert distance.min() < 1e-3, "the patch is nowhere in the band"


@pytest.mark.parametrize(("n", "m"), [(5, 5), (4, 7), (1, 9)])
def test_wasserstein_in_one_dimension(n: int, m: int) -> None:
    rng = np.random.default_rng(n)
    a, b = rng.standard_normal((n, 3)), rng.standard_normal((m, 3)) + 0.5
    expected = [reference.wasserstein_1d(a[:, k], b[:, k]) for k in range(3)]
    np.testing.assert_allclose(wasserstein_1d(a, b), expected, rtol=1e-12)
    p, q = rng.integers(0, 3, n) + 1, rng.integers(0, 3, m) + 1
    repeated = [reference.wasserstein_1d(a[:, k].repeat(p), b[:, k].repeat(q)) for k in range(3)]
    np.testing.assert_allclose(wasserstein_1d(a, b, p, q), repeated, rtol=1e-12)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("space_time", [False, True])
def test_sliced_distance_equals_the_reference(channels: int, space_time: bool) -> None:
    size = Size(6, 33, 32)
    extractor = PyramidPatches(size, channels, 5, space_time, seed=0)
    real = extractor(noise(6, size, channels), range(6))
    fake = extractor(smooth(4, size)[..., :channels], range(4))
    found = SlicedWasserstein(real, fake, extractor.levels, seed=3, directions=40)()
    assert list(found) == ["mean", *map(str, extractor.levels)]
    for number, level in enumerate(extractor.levels):
        flat = [rows[:, number].reshape(-1, *rows.shape[3:]).astype(np.float64) for rows in (real, fake)]
        vectors = keyed_rng(Purpose.EVALUATION, 3, 5, number).standard_normal((int(np.prod(flat[0].shape[1:])), 40))
        expected = reference.sliced_distance(flat[0], flat[1], vectors / np.linalg.norm(vectors, axis=0))
        assert found[str(level)] == pytest.approx(expected, rel=1e-4)
    assert found["mean"] == pytest.approx(np.mean([found[str(level)] for level in extractor.levels]))


def test_counts_are_repetitions() -> None:
    size = Size(4, 16, 16)
    extractor = PyramidPatches(size, 3, 8, False, seed=0)
    real, fake = extractor(noise(6, size), range(6)), extractor(smooth(6, size), range(6))
    metric = SlicedWasserstein(real, fake, extractor.levels, directions=64)
    twice = np.full(6, 2)
    assert metric(twice, twice)["mean"] == pytest.approx(metric()["mean"], rel=1e-9)
    assert metric(np.array([6, 0, 0, 0, 0, 0]), None)["mean"] > metric()["mean"], "one clip is further away than six"


@pytest.mark.parametrize("space_time", [False, True])
def test_falls_as_noise_and_blur_are_taken_away(space_time: bool) -> None:
    size = Size(8, 32, 32)
    extractor = PyramidPatches(size, 3, 64, space_time, seed=0)
    real, clean = extractor(smooth(48, size, seed=1), range(48)), smooth(48, size, seed=2)
    rng = np.random.default_rng(0)
    unit = rng.standard_normal(clean.shape)

    def distance(clips: NDArray[np.float64]) -> float:
        rows = extractor(np.clip(clips, 0, 255).round().astype(np.uint8), range(48))
        return SlicedWasserstein(real, rows, extractor.levels, directions=128)()["mean"]

    blurred = [clean.astype(np.float64)]
    for _ in range(4):
        padded = np.pad(blurred[-1], ((0, 0), (0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
        shifts = [padded[:, :, i : i + 32, j : j + 32] for i in range(5) for j in range(5)]
        blurred.append(np.mean(shifts, axis=0))
    for series in ([distance(clean + sigma * unit) for sigma in (40, 20, 10, 5, 0)], [distance(clips) for clips in blurred[::-1]]):
        assert series == sorted(series, reverse=True), series
        assert series[0] > 1.1 * series[-1]


def test_rows_and_clips_of_other_shapes_are_refused() -> None:
    rows = np.zeros((3, 2, 2, 3, 1, 7, 7), np.float32)
    with pytest.raises(GrowreelError, match="with the 1 levels named"):
        SlicedWasserstein(rows, rows, [Size(4, 8, 8)])
    with pytest.raises(GrowreelError, match="directions 0: must be at least 1"):
        SlicedWasserstein(rows, rows, [Size(4, 32, 32), Size(4, 16, 16)], directions=0)
    extractor = PyramidPatches(Size(4, 16, 16), 3, 2, False, seed=0)
    for clips, numbers in ((noise(2, Size(4, 16, 16), 1), [0, 1]), (noise(2, Size(4, 16, 16)), [0]), (noise(1, Size(4, 16, 8)), [0])):
        with pytest.raises(GrowreelError, match="patches need one number a clip"):
            extractor(clips, numbers)


def test_values_that_are_not_finite_are_refused() -> None:
    rows = np.zeros((3, 1, 2, 3, 1, 7, 7), np.float32)
    bad = rows.copy()
    bad[1, 0, 0, 0, 0, 0, 0] = np.inf
    with pytest.raises(GrowreelError, match="fake: features are not finite for 1 of 3 clips"):
        SlicedWasserstein(rows, bad, [Size(4, 8, 8)])
