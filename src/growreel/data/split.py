"""Which clips of a store are learnt, and which are held out to see whether the rest is learnt by heart."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from growreel.data.store import ClipStore
from growreel.errors import GrowreelError

Part = Literal["all", "training", "held-out"]
PARTS: tuple[Part, ...] = get_args(Part)


def held_out_sources(sources: Sequence[str], share: float, groups: Mapping[str, str] | None = None) -> frozenset[str]:
    """The names of the sources that are held out, of one name per clip.

    Whole groups of sources are held out, never clips: neighbours in a video are nearly the same clip, and so are those of copies and
    mirrored twins. Groups are taken in the order of their names' SHA-256, which has nothing to do with what they show, until they have
    `share` of the clips or more; at least one is held out and at least one is learnt.

    Args:
        groups: the name of each source's group (`duplicates.sources_together`); None makes each source its own.

    Raises:
        GrowreelError: there are fewer than two groups.
    """
    group_of = {source: source if groups is None else groups[source] for source in sources}
    counts = Counter(group_of[source] for source in sources)
    if len(counts) < 2:
        raise GrowreelError(
            "--holdout: all clips come from one source or copies of it, which cannot be learnt and held out; leave it out, or add videos"
        )
    chosen, clips = set[str](), 0
    for name in sorted(counts, key=lambda name: hashlib.sha256(name.encode()).digest())[:-1]:
        if chosen and clips >= share * len(sources):
            break
        chosen.add(name)
        clips += counts[name]
    return frozenset(source for source, group in group_of.items() if group in chosen)


def clips_of(store: ClipStore, part: Part) -> NDArray[np.int64]:
    """Numbers of the clips of a part of the store, ascending. A store without a holdout is for training as a whole.

    Raises GrowreelError for held-out clips of a store that holds none out.
    """
    if part not in PARTS:
        raise GrowreelError(f"--split {part}: there is no such part of a store; choose from {', '.join(PARTS)}")
    if part == "held-out" and not store.held_out:
        raise GrowreelError(f"--split held-out: {store.path} holds no clips out; prepare it with --holdout 10%")
    if part == "all" or not store.held_out:
        return np.arange(len(store))
    return np.flatnonzero([(clip.source in store.held_out) == (part == "held-out") for clip in store.clips])
