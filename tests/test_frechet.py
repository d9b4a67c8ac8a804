"""The Frechet distance against an independent reference, SciPy's matrix root, and cases with a formula."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import sqrtm

import reference_metrics as reference
from growreel.errors import GrowreelError
from growreel.evaluation.metrics import rows as rows_module
from growreel.evaluation.metrics.frechet import FrechetDistance, Gaussian, frechet_distance, gaussian

Array = NDArray[np.float64]


def samples(n: int, d: int, seed: int, scale: float = 1.0) -> Array:
    rng = np.random.default_rng(seed)
    return scale * (rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) + rng.standard_normal(d))


@pytest.mark.parametrize(("n", "m", "d"), [(200, 150, 20), (50, 500, 64), (10, 12, 40), (2, 3, 30), (30, 300, 100), (8, 8, 768)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_equals_the_reference(n: int, m: int, d: int, scale: float) -> None:
    a, b = samples(n, d, 1, scale), samples(m, d, 2, scale)
    ours = frechet_distance(gaussian(a), gaussian(b))
    total = np.trace(np.cov(a.T)) + np.trace(np.cov(b.T))
    assert ours == pytest.approx(reference.frechet_distance(a, b), rel=1e-8, abs=1e-8 * total)


@pytest.mark.parametrize(("n", "d"), [(100, 16), (400, 64)])
def test_equals_scipy_on_full_rank(n: int, d: int) -> None:
    a, b = gaussian(samples(n, d, 3)), gaussian(samples(n, d, 4))
    root = sqrtm(a.covariance @ b.covariance)
    expected = ((a.mean - b.mean) ** 2).sum() + np.trace(a.covariance + b.covariance - 2 * root.real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("rank", [1, 5, 20])
def test_equals_scipy_on_deficient_rank(rank: int) -> None:
    """Both covariances live in the same subspace; SciPy takes the root there, where the product has full rank, we in all dimensions."""
    d = 40
    rng = np.random.default_rng(rank)
    basis = np.linalg.qr(rng.standard_normal((d, rank)))[0]
    small = [f @ f.T for f in rng.standard_normal((2, rank, rank))]
    a, b = (Gaussian(np.zeros(d), basis @ s @ basis.T) for s in small)
    expected = np.trace(small[0] + small[1] - 2 * np.atleast_2d(sqrtm(small[0] @ small[1])).real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-8, abs=1e-8 * np.trace(small[0] + small[1]))


def test_gaussians_with_a_formula() -> None:
    rng = np.random.default_rng(0)
    s, t, mean = rng.uniform(0.1, 4, 10), rng.uniform(0.1, 4, 10), rng.standard_normal(10)
    a, b = Gaussian(mean, np.diag(s**2)), Gaussian(np.zeros(10), np.diag(t**2))
    assert frechet_distance(a, b) == pytest.approx((mean**2).sum() + ((s - t) ** 2).sum(), rel=1e-10)
    rotation = np.linalg.qr(rng.standard_normal((10, 10)))[0]
    c, e = (Gaussian(rotation @ g.mean, rotation @ g.covariance @ rotation.T) for g in (a, b))
    assert frechet_distance(c, e) == pytest.approx(frechet_distance(a, b), rel=1e-10)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-10)
    scaled = Gaussian(a.mean, 9 * a.covariance)
    assert frechet_distance(a, scaled) == pytest.approx(4 * np.trace(a.covariance), rel=1e-10)
    nothing = Gaussian(np.zeros(10), np.zeros((10, 10)))
    assert frechet_distance(b, nothing) == pytest.approx((t**2).sum(), rel=1e-10)


@pytest.mark.parametrize(("n", "d"), [(100, 10), (5, 60)])
def test_a_set_is_at_no_distance_from_itself(n: int, d: int) -> None:
    fitted = gaussian(samples(n, d, 5))
    assert frechet_distance(fitted, fitted) <= 1e-9 * np.trace(fitted.covariance)


def test_moments_are_those_of_numpy_also_far_from_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    data = (samples(333, 7, 6) + 1e4).astype(np.float32)
    expected = np.cov(data.astype(np.float64).T)
    for size in (10**6, 100, 7):  # parts of the rows
        monkeypatch.setattr(rows_module, "CHUNK_VALUES", size)
        fitted = gaussian(data)
        np.testing.assert_allclose(fitted.mean, data.mean(axis=0, dtype=np.float64), rtol=1e-12)
        np.testing.assert_allclose(fitted.covariance, expected, rtol=1e-9)


def test_frames_are_samples_and_counts_are_repetitions() -> None:
    clips = samples(60, 5, 7).reshape(12, 5, 5)
    np.testing.assert_allclose(gaussian(clips).covariance, np.cov(clips.reshape(-1, 5).T), rtol=1e-10)
    counts = np.array([0, 3, 1, 1, 0, 2, 1, 0, 1, 1, 1, 1])
    counted, repeated = gaussian(clips, counts), gaussian(clips.repeat(counts, axis=0))
    np.testing.assert_allclose(counted.mean, repeated.mean, rtol=1e-12)
    np.testing.assert_allclose(counted.covariance, repeated.covariance, rtol=1e-10)
    metric = FrechetDistance(clips, clips + 1)
    again = FrechetDistance(clips.repeat(counts, axis=0), clips + 1)
    assert metric(counts, None)["value"] == pytest.approx(again(None, None)["value"], rel=1e-9)


def test_bad_rows_are_refused() -> None:
    good = samples(10, 4, 8)
    with pytest.raises(GrowreelError, match="real: 1 clips are too few"):
        FrechetDistance(good[:1], good)
    with pytest.raises(GrowreelError, match=r"features of real clips are \[4\], of fake ones \[3\]"):
        FrechetDistance(good, good[:, :3])
    bad = good.copy()
    bad[3, 1] = np.nan
    with pytest.raises(GrowreelError, match="fake: features are not finite for 1 of 10 clips"):
        FrechetDistance(good, bad)
    with pytest.raises(GrowreelError, match="at least 2 samples"):
        gaussian(good, np.eye(10, dtype=np.int64)[0])
