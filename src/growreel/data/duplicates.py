"""Clips that show the same, and the videos that therefore belong on one side of a split.

Three frames of a clip (first, middle, last) are hashed: their grey levels on 8 rows of 9 places, of which each tells whether it is
darker than its neighbour to the right (dHash, Krawetz 2013): 192 bits that other codecs, sizes and brightness hardly change, but where
neighbours are equal: of flat, even pictures only exact copies are sure to be found. The same is done for the mirrored frames. Copies
that begin at another moment of the film are not found.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from growreel.data.store import ClipStore
from growreel.growth import Size

ROWS, PLACES = 8, 9
FRAMES = 3
MOST_BITS = 11
"""Bits, of 192, in which near duplicates may differ: one band of 16, of 12, is then equal, so that not all pairs need be compared."""
BAND = 16
LEAST_CONTRAST = 4.0
"""Standard deviation of the 72 grey levels (of 255) below which a frame shows too little for its hash to mean anything."""
READ_TOGETHER = 64
COMPARED_TOGETHER = 512


class Pair(NamedTuple):
    """Two clips, by number, the lower first, that show the same. `bits`: how many of 192 differ. `mirrored`: left and right are changed."""

    first: int
    second: int
    bits: int
    mirrored: bool


def find_duplicates(store: ClipStore, most_bits: int = MOST_BITS) -> list[Pair]:
    """All pairs of clips from different sources that differ in at most `most_bits` (0 to 11) bits, in ascending order."""
    numbers, plain, mirrored = _hashes(store)
    sources = np.unique([clip.source for clip in store.clips], return_inverse=True)[1]
    best: dict[tuple[int, int], Pair] = {}
    for other, is_mirrored in ((plain, False), (mirrored, True)):
        for a, b in _candidates(plain, other):
            bits = np.count_nonzero(plain[a] != other[b], axis=1)
            for i, j, distance in zip(numbers[a].tolist(), numbers[b].tolist(), bits.tolist(), strict=True):
                if i < j and distance <= most_bits and sources[i] != sources[j]:
                    pair = Pair(i, j, distance, is_mirrored)
                    best[i, j] = min(best.get((i, j), pair), pair, key=lambda each: (each.bits, each.mirrored))
    return [best[key] for key in sorted(best)]


def sources_together(store: ClipStore, pairs: Iterable[Pair]) -> dict[str, str]:
    """For each source of the store the name of its group, which is the first of its sources in order of names.

    Sources that share a duplicate are in one group, and so are those of a chain of such. A split that takes groups for sources keeps
    twins on one side.
    """
    above = {clip.source: clip.source for clip in store.clips}

    def top(name: str) -> str:
        while above[name] != name:
            name = above[name]
        return name

    for pair in pairs:
        low, high = sorted((top(store.clips[pair.first].source), top(store.clips[pair.second].source)))
        above[high] = low
    return {name: top(name) for name in above}


def _hashes(store: ClipStore) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Numbers of the clips that show enough, and bool [n, 192] of them and of their mirror images."""
    level = small_level(store)
    at = np.linspace(0, level.t - 1, FRAMES).round().astype(int)
    down, across = _averages(level.h, ROWS), _averages(level.w, PLACES)
    numbers, plain, mirrored = [np.empty(0, np.int64)], [np.empty((0, FRAMES * ROWS * (PLACES - 1)), bool)], []
    mirrored.append(plain[0])
    for first in range(0, len(store), READ_TOGETHER):
        some = np.arange(first, min(first + READ_TOGETHER, len(store)))
        grey = store.read(some.tolist(), level)[:, at].mean(axis=-1)
        small = down @ grey @ across.T
        shows = (small.std(axis=(-2, -1)) >= LEAST_CONTRAST).all(axis=1)
        numbers.append(some[shows])
        for hashes, frames in ((plain, small), (mirrored, small[..., ::-1])):
            hashes.append((frames[..., :-1] < frames[..., 1:])[shows].reshape(int(shows.sum()), -1))
    return np.concatenate(numbers), np.concatenate(plain), np.concatenate(mirrored)


def small_level(store: ClipStore) -> Size:
    """The smallest level with all frames and enough pixels for the hash; the full one of a store of tiny clips."""
    fitting = [level for level in store.levels() if level.t == store.size.t and level.h >= 2 * ROWS and level.w >= 2 * PLACES]
    return min(fitting, key=lambda level: level.voxels, default=store.size)


def _averages(extent: int, parts: int) -> NDArray[np.float64]:
    """[parts, extent] whose product with a line of pixels is the averages over equal parts of it, edges shared by area."""
    edges = np.linspace(0, extent, parts + 1)
    low, high = np.maximum(edges[:-1, None], np.arange(extent)), np.minimum(edges[1:, None], np.arange(extent) + 1)
    shares: NDArray[np.float64] = np.maximum(high - low, 0) * parts / extent
    return shares


def _candidates(plain: NDArray[np.bool_], other: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs of rows that have a band in common, as two arrays of row numbers, some pairs at a time."""
    bits = 2 ** np.arange(BAND)
    for start in range(0, plain.shape[1], BAND):
        keys, others = plain[:, start : start + BAND] @ bits, other[:, start : start + BAND] @ bits
        rows = defaultdict[int, list[int]](list)
        for row, key in enumerate(others.tolist()):
            rows[key].append(row)
        lines = defaultdict[int, list[int]](list)
        for row, key in enumerate(keys.tolist()):
            lines[key].append(row)
        for key, here in lines.items():
            for first in range(0, len(here), COMPARED_TOGETHER):
                for second in range(0, len(rows.get(key, ())), COMPARED_TOGETHER):
                    a, b = here[first : first + COMPARED_TOGETHER], rows[key][second : second + COMPARED_TOGETHER]
                    yield np.repeat(a, len(b)), np.tile(b, len(a))
