"""Clips that are exactly equal, or mirror images: found by digest."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint8]
"""[n, 2, 16]: digest of each clip and of its mirror image."""
PLAIN = 0
"""First byte of the digest of a clip of a single colour, which makes no videos related."""


class ClipHashes:
    """A digest of each clip and of its mirror image, uint8 [n, 2, 16], to find exact copies.

    The first byte is PLAIN for clips of a single colour and odd for all others: a black clip in two videos says nothing about them.
    """

    name = "hashes"

    def __call__(self, clips: NDArray[np.uint8], numbers: Sequence[int]) -> NDArray[np.uint8]:
        pairs = [b"".join(hashlib.blake2b(view.tobytes(), digest_size=16).digest() for view in _views(clip)) for clip in clips]
        hashes = np.frombuffer(b"".join(pairs), np.uint8).reshape(-1, 2, 16).copy()
        plain = (clips == clips[:, :1, :1, :1]).all(axis=(1, 2, 3, 4))
        hashes[..., 0] = np.where(plain[:, None], PLAIN, hashes[..., 0] | 1)
        return hashes

    def describe(self) -> dict[str, Any]:
        return {"digest": "blake2b-128 of clip and mirror image"}


def _views(clip: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    return clip, clip[:, :, ::-1]


def repeated(hashes: Hashes) -> int:
    """Count the clips that equal an earlier one."""
    return len(hashes) - len(set(_digests(hashes)[0]))


def shared(hashes: Hashes, others: Hashes) -> int:
    """Count the clips that equal one of the others, or its mirror image."""
    known = {digest for side in _digests(others) for digest in side}
    return sum(digest in known for digest in _digests(hashes)[0])


def source_groups(sources: Sequence[str] | None, hashes: Hashes) -> NDArray[np.int64]:
    """A number [n] for each clip, the same for clips that are not independent.

    Those are clips of one source video, and clips of videos of which one holds a clip of the other or its mirror image. Without
    sources, or with a single one, every clip stands for itself.
    """
    clips, mirrored = _digests(hashes)
    names = list(sources) if sources is not None and len(set(sources)) > 1 else [str(k) for k in range(len(hashes))]
    parent = {name: name for name in names}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    first: dict[bytes, str] = {}
    for name, digest in zip(names, clips, strict=True):
        if digest[0] == PLAIN:
            continue
        parent[root(name)] = root(first.setdefault(digest, name))
    for name, digest in zip(names, mirrored, strict=True):
        if digest in first:
            parent[root(name)] = root(first[digest])
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(root(name), len(numbers)) for name in names], np.int64)


def _digests(hashes: Hashes) -> tuple[list[bytes], list[bytes]]:
    def side(which: int) -> list[bytes]:
        return [row.tobytes() for row in np.asarray(hashes[:, which])]

    return side(0), side(1)
