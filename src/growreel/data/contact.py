"""Looking at a clip store: its facts in words, and a sheet of some of its clips."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from growreel.data.split import clips_of
from growreel.data.store import ClipStore
from growreel.errors import GrowreelError
from growreel.ranges import check_range
from growreel.runtime.terminal import printable
from growreel.video import tile_frames, write_clip

SHEET_COLUMNS = 8


def facts(store: ClipStore) -> dict[str, Any]:
    """Return what a store holds, as plain values: counts, shape, rate, labels, levels, bytes, and what was skipped."""
    sources = Counter(clip.source for clip in store.clips)
    labels = Counter(store.labels[clip.label] for clip in store.clips if clip.label is not None)
    return {
        "kind": "store",
        "path": str(store.path),
        "clips": len(store),
        "size": str(store.size),
        "channels": store.channels,
        "fps": store.fps,
        "rates": {f"{rate:g}": clips for rate, clips in store.rates},
        "sources": len(sources),
        "fewest_clips_of_a_source": min(sources.values()),
        "most_clips_of_a_source": max(sources.values()),
        "held_out": len(store) - len(clips_of(store, "training")),
        "labels": {name: labels[name] for name in store.labels},
        "unlabelled": len(store) - sum(labels.values()),
        "levels": list(map(str, store.levels())),
        "bytes": store.disk_bytes(),
        "made_with": {name: value for name, value in store.options.items() if value is not None},
        "skipped": [{"source": name, "reason": reason} for name, reason in store.skipped],
    }


def describe(store: ClipStore) -> str:
    """Counts, shape, rate, labels, sources, levels and bytes of a store, for people."""
    found = facts(store)
    color, skipped = "RGB" if found["channels"] == 3 else "grey", len(found["skipped"])
    lines = [
        f"{found['path']}: {found['clips']:,} clips of {found['size']}, {color}, {found['fps']:g} frames per second",
        f"sources   {found['sources']:,}, {_from_to(found['fewest_clips_of_a_source'], found['most_clips_of_a_source'])} each"
        + (f"; {skipped:,} skipped" if skipped else ""),
    ]
    if len(found["rates"]) > 1:
        lines.append("rates     " + ", ".join(f"{clips:,} clips at {rate}" for rate, clips in found["rates"].items()))
    if found["held_out"]:
        lines.append(f"held out  {found['held_out']:,} clips of whole sources, for evaluation")
    if found["labels"]:
        counts = [f"{name} {count:,}" for name, count in found["labels"].items()]
        lines.append("labels    " + ", ".join(counts + ([f"none {found['unlabelled']:,}"] if found["unlabelled"] else [])))
    made_with = {name: value for name, value in found["made_with"].items() if value is not False and not isinstance(value, dict)}
    lines += [
        f"levels    {len(found['levels'])}, from {found['levels'][0]} to {found['levels'][-1]}",
        f"on disk   {found['bytes'] / 2**20:,.1f} MiB",
        f"made with {', '.join(f'{name}={value}' for name, value in made_with.items())}",
    ]
    return "\n".join(map(printable, lines + [f"skipped   {each['source']}: {each['reason']}" for each in found["skipped"]]))


def _from_to(least: int, most: int) -> str:
    return f"{least:,} to {most:,} clips" if least < most else f"{most:,} clip{'s' if most > 1 else ''}"


def check_sheet(path: str | os.PathLike[str], count: int, seed: int) -> None:
    """Raise GrowreelError if `path` is no .png, `count` is less than 1, or `seed` less than 0."""
    if Path(path).suffix.lower() != ".png":
        raise GrowreelError(f"{path}: a contact sheet is a .png file; change the name")
    check_range("--count", count, least=1)
    check_range("--seed", seed, least=0)


def contact_sheet(store: ClipStore, path: str | os.PathLike[str], count: int = 16, seed: int = 0) -> list[int]:
    """Write a PNG of `count` clips drawn by `seed`, in the order of the store: a row per clip, evenly spaced frames from left to right.

    Returns the clips of its rows, by number. Raises GrowreelError as `check_sheet`.
    """
    check_sheet(path, count, seed)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(store))[:count])
    clips = store.read(chosen.tolist(), store.size)
    columns = min(SHEET_COLUMNS, store.size.t)
    frames = clips[:, np.linspace(0, store.size.t - 1, columns).round().astype(int)]
    write_clip(path, tile_frames(frames), store.fps)
    return [int(number) for number in chosen]
