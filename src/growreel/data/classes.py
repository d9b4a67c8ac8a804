"""The classes of a conditional model: what the labels of a store's clips are to the networks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from growreel.data.split import clips_of
from growreel.data.store import ClipStore
from growreel.errors import GrowreelError

HOW_TO_LABEL = "prepare gives labels with --labels (names of sub-folders) or --list FILE (CSV with columns video,label, or UCF-101's)"


def class_names(store: ClipStore) -> tuple[str, ...]:
    """Return the names of the store's classes, sorted: the labels of its clips.

    Raises GrowreelError, saying how labels are given, unless every clip has a label, there are two labels or more, and clips of each are
    for training.
    """
    bare = [clip.source for clip in store.clips if clip.label is None]
    if len(bare) == len(store):
        raise GrowreelError(f"--conditional: the clips of {store.path} have no labels; {HOW_TO_LABEL}")
    if bare:
        raise GrowreelError(
            f"--conditional: {len(bare)} of {len(store)} clips of {store.path} have no label, the first of them from {bare[0]}; leave them "
            f"out, or label them: {HOW_TO_LABEL}"
        )
    names = sorted({store.labels[clip.label] for clip in store.clips if clip.label is not None})
    if len(names) < 2:
        raise GrowreelError(f"--conditional: all clips of {store.path} are {names[0]!r}; leave the flag out, or add clips of another class")
    learnt = {store.clips[number].label for number in clips_of(store, "training")}
    if unlearnt := [name for name in names if store.labels.index(name) not in learnt]:
        raise GrowreelError(
            f"--conditional: {store.path} holds all clips of {', '.join(unlearnt)} out, and none is left to learn from; prepare it "
            "with another --holdout, or without that class"
        )
    return tuple(names)


def in_proportion(classes: NDArray[np.int64], count: int) -> list[int]:
    """Return the classes of `count` clips, in order, of which each has the share that it has in `classes`, but for rounding."""
    chosen: list[int] = np.sort(classes)[((np.arange(count) + 0.5) * len(classes) / count).astype(int)].tolist()
    return chosen


def class_numbers(store: ClipStore, names: Sequence[str]) -> NDArray[np.int64]:
    """Return for each clip of the store the place of its label among `names`, -1 where it has none of them."""
    places = {name: place for place, name in enumerate(names)}
    of_label = [places.get(label, -1) for label in store.labels]
    return np.array([-1 if clip.label is None else of_label[clip.label] for clip in store.clips], np.int64)
