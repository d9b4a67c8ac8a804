"""A picture of generated clips, each with the training clip nearest to it: what a memorisation figure cannot show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from growreel.errors import GrowreelError
from growreel.evaluation.clips import ClipSet
from growreel.evaluation.metrics.nearest import Neighbours
from growreel.runtime.durable import writing
from growreel.video import enlarge, tile_frames, write_clip

COLUMNS = 8
GAP = 2


def draw_pairs(path: Path, fake: ClipSet, training: ClipSet, neighbours: Neighbours, fake_numbers: list[int], count: int = 8) -> None:
    """Write a PNG: for each of the `count` nearest pairs a row of the generated clip's frames, below it its training clip's.

    The training clip is mirrored where its mirror image was the nearer one. Raises GrowreelError as `check_picture` does.
    """
    check_picture(path)
    nearest = np.argsort(neighbours.distance, kind="stable")[:count]
    generated = fake.read([fake_numbers[k] for k in nearest])
    learnt = training.read(neighbours.clip[nearest].tolist())
    flipped = neighbours.mirrored[nearest]
    learnt[flipped] = learnt[flipped][:, :, :, ::-1]
    shown = [enlarge(clips[:, _evenly(clips.shape[1])]) for clips in (generated, learnt)]
    rows = np.stack(shown, axis=1)  # pair, which, t h w c
    pairs = [np.concatenate([tile_frames(row[None])[0] for row in pair]) for pair in rows]
    gap = np.full((GAP, *pairs[0].shape[1:]), 255, np.uint8)
    sheet = np.concatenate([part for pair in pairs for part in (pair, gap)][:-1])
    write_clip(path, sheet[None], fps=1)


def check_picture(path: Path) -> None:
    """Make the folder of `path`. Raises GrowreelError for another suffix than .png, and where nothing can be written."""
    if path.suffix.lower() != ".png":
        raise GrowreelError(f"--pairs {path}: is a .png file; change the name")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)


def _evenly(frames: int) -> NDArray[np.int64]:
    return np.linspace(0, frames - 1, min(COLUMNS, frames)).round().astype(np.int64)
