"""Slow float64 versions of the metrics, written from the papers' definitions with plain loops; the tests compare the product with them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def frechet_distance(a: Array, b: Array) -> float:
    """From samples [n, d], without any root of a matrix: tr((S_a S_b)^(1/2)) is the sum of singular values of A B^T for S = A^T A."""
    centred = [(x - x.mean(axis=0)) / math.sqrt(len(x) - 1) for x in (a, b)]
    shared = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum()
    return float(((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum() + sum((x**2).sum() for x in centred) - 2 * shared)


def kernel_distance(x: Array, y: Array) -> float:
    def k(u: Array, v: Array) -> float:
        return float((sum(p * q for p, q in zip(u, v, strict=True)) / len(u) + 1) ** 3)

    n, m = len(x), len(y)
    within_x = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_y = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    across = sum(k(u, v) for u in x for v in y) / (n * m)
    return within_x + within_y - 2 * across


def precision_recall_density_coverage(real: Array, fake: Array, k: int) -> tuple[float, float, float, float]:
    def radius(points: Array, i: int) -> float:
        return sorted(float(np.linalg.norm(points[i] - other)) for j, other in enumerate(points) if j != i)[k - 1]

    real_radius, fake_radius = [radius(real, i) for i in range(len(real))], [radius(fake, i) for i in range(len(fake))]

    def balls(point: Array, centres: Array, radii: Sequence[float]) -> int:
        return sum(float(np.linalg.norm(point - centre)) <= r for centre, r in zip(centres, radii, strict=True))

    precision = sum(balls(f, real, real_radius) > 0 for f in fake) / len(fake)
    recall = sum(balls(r, fake, fake_radius) > 0 for r in real) / len(real)
    density = sum(balls(f, real, real_radius) for f in fake) / (k * len(fake))
    coverage = sum(any(np.linalg.norm(f - r) <= radius for f in fake) for r, radius in zip(real, real_radius, strict=True)) / len(real)
    return precision, recall, density, coverage


def inception_score(p: Array) -> float:
    marginal = [sum(row[c] for row in p) / len(p) for c in range(p.shape[1])]
    divergences = [sum(q * (math.log(q) - math.log(m)) for q, m in zip(row, marginal, strict=True) if q > 0) for row in p]
    return math.exp(sum(divergences) / len(divergences))


def wasserstein_1d(a: Array, b: Array) -> float:
    """By quantile functions: the areas between them, piece by piece."""
    a, b = np.sort(a), np.sort(b)
    edges = sorted({i / len(a) for i in range(len(a) + 1)} | {j / len(b) for j in range(len(b) + 1)})
    total = 0.0
    for low, high in itertools.pairwise(edges):
        middle = (low + high) / 2
        total += (high - low) * abs(a[int(middle * len(a))] - b[int(middle * len(b))])
    return total


def filter_axis(x: Array, axis: int) -> Array:
    """[1 4 6 4 1] / 16 along an axis, mirrored at the ends without repeating the end."""
    taps, extent = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16), x.shape[axis]
    out = np.zeros_like(x)
    for i in range(extent):
        for tap, offset in zip(taps, range(-2, 3), strict=True):
            j = abs(i + offset)
            j = j if j < extent else 2 * (extent - 1) - j
            target, source = [slice(None)] * x.ndim, [slice(None)] * x.ndim
            target[axis], source[axis] = slice(i, i + 1), slice(j, j + 1)
            out[tuple(target)] += tap * x[tuple(source)]
    return out


def laplacian_pyramid(clip: Array, space_time: bool) -> list[Array]:
    """Levels of a clip [t, h, w, c], finest first, down to 16 pixels; time is halved down to 4 frames, and only in space-time."""
    bands, current = [], clip
    while min(-(-current.shape[1] // 2), -(-current.shape[2] // 2)) >= 16:
        axes = [1, 2]
        if space_time and -(-current.shape[0] // 2) >= 4:
            axes = [0, 1, 2]
        smaller = current
        for axis in axes:
            smaller = np.take(filter_axis(smaller, axis), range(0, smaller.shape[axis], 2), axis=axis)
        larger = np.zeros_like(current)
        places = tuple(slice(None, None, 2) if axis in axes else slice(None) for axis in range(3))
        larger[places] = smaller
        for axis in axes:
            larger = 2 * filter_axis(larger, axis)
        bands.append(current - larger)
        current = smaller
    return [*bands, current]


def sliced_distance(a: Array, b: Array, directions: Array) -> float:
    """Patches [n, c, ...], every channel normalised over the set; mean 1-D distance along directions [d, k], times 1000."""
    flat = []
    for patches in (a, b):
        channels = [(patches[:, c] - patches[:, c].mean()) / patches[:, c].std() for c in range(patches.shape[1])]
        flat.append(np.stack(channels, axis=1).reshape(len(patches), -1))
    return 1000 * float(np.mean([wasserstein_1d(flat[0] @ direction, flat[1] @ direction) for direction in directions.T]))


def temporal_power(gray: Array) -> Array:
    """Of a clip [t, h, w]: |DFT|^2 / t^2 of every pixel without its mean, averaged over pixels, bins 1 to t // 2; by the sum itself."""
    t = len(gray)
    moving = gray - gray.mean(axis=0)
    powers = []
    for bin_ in range(1, t // 2 + 1):
        total = sum(np.exp(-2j * math.pi * bin_ * i / t) * moving[i] for i in range(t))
        powers.append(float((np.abs(total) ** 2).mean()) / t**2)
    return np.array(powers)
