"""Finding copies, independent halves, nearest training clips, and the memorisation figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from growreel.errors import GrowreelError
from growreel.evaluation import copies
from growreel.evaluation.copies import ClipHashes
from growreel.evaluation.extractors.pixels import PixelFeatures
from growreel.evaluation.measure import source_halves
from growreel.evaluation.metrics.nearest import Memory, Neighbours, nearest_training_clips, unseen_neighbours
from growreel.evaluation.pairs import draw_pairs


def clips_of(count: int, seed: int = 0) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 2, 3, 3, 3), dtype=np.uint8)
    return coarse.repeat(2, axis=1).repeat(4, axis=2).repeat(4, axis=3)


class Clips:
    """A set of clips in memory."""

    channels, sources, warnings = 3, None, ()

    def __init__(self, clips: NDArray[np.uint8]) -> None:
        self.clips, self.size = clips, clips.shape[1:4]

    def read(self, numbers: list[int]) -> NDArray[np.uint8]:
        return self.clips[numbers]


def test_copies_and_mirror_images_are_found() -> None:
    clips = clips_of(6)
    clips[3], clips[5] = clips[1], clips[0][:, :, ::-1]
    hashes = ClipHashes()(clips, range(6))
    assert copies.repeated(hashes) == 1
    assert copies.shared(hashes[:2], hashes[2:]) == 2 and copies.shared(hashes[2:3], hashes[3:]) == 0
    groups = copies.source_groups(["a", "b", "c", "d", "a", "e"], hashes)
    assert groups.tolist() == [0, 1, 2, 1, 0, 0]  # b with d: a copy; a with e: a mirror image
    for none in (None, ["memory"] * 6):
        assert copies.source_groups(none, hashes).tolist() == [0, 1, 2, 1, 3, 0]


def test_halves_share_no_group_and_are_even() -> None:
    groups = np.array([0, 0, 0, 1, 1, 2, 2, 2, 3, 4, 4])
    for seed in range(5):
        found = source_halves(groups, seed)
        assert found is not None
        first, second = found
        assert sorted([*first, *second]) == list(range(11)) and abs(len(first) - len(second)) <= 3
        assert not set(groups[first]) & set(groups[second])
    assert source_halves(np.zeros(5, np.int64), 0) is None


def test_no_group_has_its_place_in_a_half() -> None:
    """Largest first would put the two largest apart for every seed, and each always on the same side."""
    groups = np.repeat(np.arange(6), [9, 7, 3, 2, 2, 1])
    splits = [source_halves(groups, seed) for seed in range(200)]
    firsts = [set(groups[split[0]]) for split in splits if split is not None]
    assert 60 < sum(0 in first for first in firsts) < 140 and 60 < sum(1 in first for first in firsts) < 140
    assert any({0, 1} <= first for first in firsts)


def test_a_black_clip_relates_no_videos() -> None:
    clips = clips_of(4)
    clips[1], clips[3] = 0, 0
    hashes = ClipHashes()(clips, range(4))
    assert copies.source_groups(["a", "a", "b", "b"], hashes).tolist() == [0, 0, 1, 1] and copies.repeated(hashes) == 1


def test_nearest_clips_also_in_the_mirror_and_not_in_the_own_group() -> None:
    training = clips_of(5)
    features, numbers = PixelFeatures(), range(5)
    rows, mirrored = features(training, numbers), features(training[:, :, :, ::-1], numbers)
    asked = np.stack([training[3], training[1][:, :, ::-1]])
    found = nearest_training_clips(features(asked, range(2)), rows, mirrored)
    assert found.clip.tolist() == [3, 1] and found.mirrored.tolist() == [False, True]
    np.testing.assert_allclose(found.distance, 0, atol=1e-3)
    groups = np.array([0, 0, 1, 1, 2])
    unseen = unseen_neighbours(rows, mirrored, groups)
    for k in range(5):
        others = [j for j in range(5) if groups[j] != groups[k]]
        by_hand = min(min(np.linalg.norm(rows[k] - rows[j]), np.linalg.norm(rows[k] - mirrored[j])) for j in others)
        assert unseen.distance[k] == pytest.approx(by_hand, rel=1e-5) and groups[unseen.clip[k]] != groups[k]
    with pytest.raises(GrowreelError, match="all training clips come from one video"):
        unseen_neighbours(rows, mirrored, np.zeros(5, np.int64))


def test_training_clips_that_are_not_finite_are_named() -> None:
    rows = np.ones((3, 4))
    bad = rows.copy()
    bad[1, 2] = np.nan
    with pytest.raises(GrowreelError, match="training clips: features are not finite for 1 of 3 clips"):
        nearest_training_clips(rows, bad, rows)


def neighbours(*distances: float) -> Neighbours:
    return Neighbours(np.array(distances), np.zeros(len(distances), np.int64), np.zeros(len(distances), np.bool_))


def test_memorisation_is_the_share_of_pairs() -> None:
    fake, unseen = [1.0, 2.0, 2.0, 9.0], [2.0, 3.0, 8.0]
    found = Memory(neighbours(*fake), neighbours(*unseen))()
    pairs = [(f < u) + (f == u) / 2 for f in fake for u in unseen]
    assert found["memorised"] == pytest.approx(np.mean(pairs))
    assert found["distance"] == 2 and found["distance_of_unseen"] == 3
    counts = np.array([0, 1, 0, 3])
    again = Memory(neighbours(*np.repeat(fake, counts)), neighbours(*unseen))()
    assert Memory(neighbours(*fake), neighbours(*unseen))(None, counts) == pytest.approx(again)


def test_copies_read_1_and_unseen_clips_a_half() -> None:
    training, new, held_out = clips_of(200), clips_of(200, 1), clips_of(200, 2)
    features, numbers = PixelFeatures(), range(200)
    rows, mirrored = features(training, numbers), features(training[:, :, :, ::-1], numbers)
    unseen = unseen_neighbours(rows, mirrored, np.arange(200), features(held_out, numbers))
    noisy = np.clip(training + np.random.default_rng(0).normal(0, 8, training.shape), 0, 255).astype(np.uint8)
    copied = Memory(nearest_training_clips(features(noisy, numbers), rows, mirrored), unseen)()
    fresh = Memory(nearest_training_clips(features(new, numbers), rows, mirrored), unseen)()
    assert copied["memorised"] > 0.99 and copied["near_copies"] == 1
    assert fresh["memorised"] == pytest.approx(0.5, abs=0.08) and fresh["near_copies"] < 0.12


def test_a_picture_of_pairs(tmp_path: Path) -> None:
    training = clips_of(4)
    fake = np.stack([training[2] // 2, training[1][:, :, ::-1]])
    found = Neighbours(np.array([5.0, 0.0]), np.array([2, 1]), np.array([False, True]))
    draw_pairs(tmp_path / "pairs.png", Clips(fake), Clips(training), found, [0, 1])  # type: ignore[arg-type]
    sheet = np.asarray(Image.open(tmp_path / "pairs.png"))
    assert sheet.shape == (4 * 60 + 2, 4 * 60, 3)  # clips of 12 pixels, five times
    np.testing.assert_array_equal(sheet[:60], sheet[60:120])  # the nearest pair first, its training clip mirrored
    np.testing.assert_array_equal(sheet[122:182:5, :60:5], training[2][0] // 2)
    np.testing.assert_array_equal(sheet[182::5, :60:5], training[2][0])
    with pytest.raises(GrowreelError, match=r"is a \.png file"):
        draw_pairs(tmp_path / "pairs.jpg", Clips(fake), Clips(training), found, [0, 1])  # type: ignore[arg-type]
