"""Looking at a clip store: its facts in words, and a sheet of some of its clips."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np

from growreel.data.store import ClipStore
from growreel.errors import GrowreelError
from growreel.runtime.terminal import printable
from growreel.video import tile_frames, write_clip

SHEET_COLUMNS = 8


def describe(store: ClipStore) -> str:
    """Counts, shape, rate, labels, sources, levels and bytes of a store, for people."""
    sources = Counter(clip.source for clip in store.clips)
    most = max(sources.values())
    lines = [
        f"{store.path}: {len(store):,} clips of {store.size}, {'RGB' if store.channels == 3 else 'grey'}, {store.fps:g} frames per second",
        f"sources   {len(sources):,}, up to {most:,} clips each" + (f"; {len(store.skipped):,} skipped" if store.skipped else ""),
    ]
    if store.labels:
        counts = Counter(store.labels[clip.label] for clip in store.clips if clip.label is not None)
        unlabelled = len(store) - sum(counts.values())
        lines.append(
            "labels    " + ", ".join(f"{name} {counts[name]:,}" for name in store.labels) + (f", none {unlabelled:,}" if unlabelled else "")
        )
    lines += [
        f"levels    {' '.join(map(str, store.levels()))}",
        f"on disk   {store.disk_bytes() / 2**20:,.1f} MiB",
        f"made with {', '.join(f'{name}={value}' for name, value in store.options.items() if value is not None)}",
    ]
    return "\n".join(map(printable, lines + [f"skipped   {name}: {reason}" for name, reason in store.skipped]))


def check_sheet(path: str | os.PathLike[str], count: int, seed: int) -> None:
    """Raise GrowreelError if `path` is no .png, `count` is not positive, or `seed` is negative."""
    if Path(path).suffix.lower() != ".png":
        raise GrowreelError(f"{path}: a contact sheet is a .png file; change the name")
    if count < 1:
        raise GrowreelError(f"count: {count} is not possible; show at least one clip")
    if seed < 0:
        raise GrowreelError(f"--seed {seed}: must not be negative")


def contact_sheet(store: ClipStore, path: str | os.PathLike[str], count: int = 16, seed: int = 0) -> None:
    """Write a PNG of `count` clips drawn by `seed`, in the order of the store: a row per clip, evenly spaced frames from left to right.

    Raises GrowreelError as `check_sheet`.
    """
    check_sheet(path, count, seed)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(store))[:count])
    clips = store.read(chosen.tolist(), store.size)
    columns = min(SHEET_COLUMNS, store.size.t)
    frames = clips[:, np.linspace(0, store.size.t - 1, columns).round().astype(int)]
    write_clip(path, tile_frames(frames), store.fps)
