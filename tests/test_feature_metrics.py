"""Kernel distance, precision and its kin, and the Inception Score, against loops over their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import reference_metrics as reference
from growreel.errors import GrowreelError
from growreel.evaluation.metrics.inception_score import InceptionScore, inception_score
from growreel.evaluation.metrics.kernel import KernelDistance
from growreel.evaluation.metrics.manifold import Manifold

Array = NDArray[np.float64]


def normal(n: int, d: int, seed: int, shift: float = 0.0) -> Array:
    return np.random.default_rng(seed).standard_normal((n, d)) + shift


@pytest.mark.parametrize(("n", "m", "d"), [(9, 7, 4), (2, 3, 1), (6, 6, 10)])
def test_kernel_distance_is_its_definition(n: int, m: int, d: int) -> None:
    x, y = normal(n, d, 0), normal(m, d, 1, 0.3)
    assert KernelDistance(x, y)()["value"] == pytest.approx(reference.kernel_distance(x, y), rel=1e-10)


def test_kernel_distance_is_unbiased() -> None:
    draws = [KernelDistance(normal(20, 3, 2 * k), normal(20, 3, 2 * k + 1))()["value"] for k in range(400)]
    assert abs(np.mean(draws)) < 3 * np.std(draws) / np.sqrt(len(draws)) and np.std(draws) > 0


def test_kernel_distance_counts_are_repetitions_and_frames_are_samples() -> None:
    x, y = normal(8, 3, 0), normal(7, 3, 1, 0.5)
    p, q = np.array([2, 0, 1, 1, 3, 0, 0, 1]), np.array([1, 1, 1, 0, 2, 1, 1])
    repeated = reference.kernel_distance(x.repeat(p, axis=0), y.repeat(q, axis=0))
    assert KernelDistance(x, y)(p, q)["value"] == pytest.approx(repeated, rel=1e-10)
    clips = normal(24, 3, 2).reshape(6, 4, 3)
    frames = KernelDistance(clips, clips[::-1] + 1)
    assert frames()["value"] == pytest.approx(reference.kernel_distance(clips.reshape(-1, 3), clips.reshape(-1, 3) + 1), rel=1e-9)
    counts = np.array([2, 1, 0, 1, 1, 1])
    again = KernelDistance(clips.repeat(counts, axis=0), clips[::-1] + 1)
    assert frames(counts, None)["value"] == pytest.approx(again()["value"], rel=1e-9)


def test_kernel_distance_of_many_samples_takes_a_choice() -> None:
    x, y = normal(300, 2, 0), normal(300, 2, 1, 2.0)
    few, same, all_ = KernelDistance(x, y, max_samples=50), KernelDistance(x, y, max_samples=50), KernelDistance(x, y)
    assert few()["value"] == same()["value"] != all_()["value"]
    assert few()["value"] == pytest.approx(all_()["value"], rel=0.5)


@pytest.mark.parametrize(("n", "m", "k"), [(15, 12, 3), (20, 30, 5), (8, 8, 1)])
def test_manifold_numbers_are_their_definitions(n: int, m: int, k: int) -> None:
    real, fake = normal(n, 2, 0), normal(m, 2, 1, 0.7)
    expected = reference.precision_recall_density_coverage(real, fake, k)
    found = Manifold(real, fake, k)()
    assert tuple(found.values()) == pytest.approx(expected)
    assert 0 < found["precision"] < 1 or 0 < found["coverage"] < 1, "a case in between"


def test_manifold_of_known_sets() -> None:
    real = normal(100, 5, 0)
    assert Manifold(real, real)()["precision"] == Manifold(real, real)()["recall"] == Manifold(real, real)()["coverage"] == 1
    assert set(Manifold(real, real + 100)().values()) == {0.0}
    two_modes = np.concatenate([normal(60, 3, 1), normal(60, 3, 2, 20.0)])
    dropped = Manifold(two_modes, normal(120, 3, 3))()
    assert dropped["precision"] > 0.8 and dropped["recall"] < 0.6 and dropped["coverage"] < 0.6


def test_manifold_counts_weight_the_clips_that_are_tested() -> None:
    real, fake = normal(20, 2, 0), normal(16, 2, 1, 1.0)
    metric = Manifold(real, fake, 3)
    one = [metric(np.eye(20, dtype=np.int64)[i], np.eye(16, dtype=np.int64)[i % 16]) for i in range(20)]
    assert np.mean([each["recall"] for each in one]) == pytest.approx(metric()["recall"])
    assert np.mean([each["density"] for each in one[:16]]) == pytest.approx(metric()["density"])


def test_manifold_needs_more_clips_than_neighbours() -> None:
    with pytest.raises(GrowreelError, match="fake: 5 clips are too few for this metric; give at least 6"):
        Manifold(normal(10, 2, 0), normal(5, 2, 1))


def test_inception_score() -> None:
    p = np.random.default_rng(0).dirichlet(np.full(6, 0.3), 40)
    p[0] = [1, 0, 0, 0, 0, 0]
    assert inception_score(p) == pytest.approx(reference.inception_score(p), rel=1e-12)
    assert inception_score(np.full((9, 5), 0.2)) == pytest.approx(1)
    assert inception_score(np.eye(7)) == pytest.approx(7)
    counts = np.arange(40) % 3
    assert inception_score(p, counts) == pytest.approx(inception_score(p.repeat(counts, axis=0)), rel=1e-12)
    assert InceptionScore(np.eye(7), p)() == {"value": inception_score(p), "of real clips": pytest.approx(7)}


def test_inception_score_of_logits_is_refused() -> None:
    with pytest.raises(GrowreelError, match="was the softmax forgotten"):
        inception_score(normal(5, 3, 0))
