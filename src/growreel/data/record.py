"""Which clips a run has learnt from: the facts of a store that decide what training sees."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Self

from growreel.data.split import clips_of
from growreel.data.store import ClipStore, read_index
from growreel.errors import GrowreelError


@dataclass(frozen=True)
class DataRecord:
    """The clips of a store. Two stores with the same clips in the same order have the same record, wherever they lie.

    Attributes:
        sha256: of the pixels of all clips at all levels, by way of the checksums in the index, of size, colours, frame rate, and of which
            clips are for training, if not all; for a conditional model, also of the label of each clip.
        clips: how many.
        size: of a clip, TxHxW.
        channels: 1 or 3.
        fps: frames a second at which a full clip plays.
        since: clips shown when the run began to learn from them.
    """

    sha256: str
    clips: int
    size: str
    channels: int
    fps: float
    since: int = 0

    @classmethod
    def of(cls, store: ClipStore, *, labelled: bool = False) -> Self:
        """The record of an open store, with its labels or without. Raises GrowreelError if its index can no longer be read."""
        index = read_index(store.path)
        levels = {level: [[shard["clips"], shard["sha256"]] for shard in shards] for level, shards in index["levels"].items()}
        facts = [str(store.size), store.channels, store.fps, levels]
        if (training := clips_of(store, "training").tolist()) != list(range(len(store))):
            facts.append(training)
        if labelled:
            facts.append([None if clip.label is None else store.labels[clip.label] for clip in store.clips])
        content = json.dumps(facts, sort_keys=True)
        return cls(hashlib.sha256(content.encode()).hexdigest(), len(store), str(store.size), store.channels, store.fps)

    @classmethod
    def read(cls, facts: Any, where: str) -> Self:
        """From what `facts()` gave. Raises GrowreelError naming `where` if it is something else."""
        kinds = {field.name: field.type for field in dataclasses.fields(cls)}
        if not isinstance(facts, dict) or facts.keys() != kinds.keys() or any(type(facts[n]).__name__ != k for n, k in kinds.items()):
            raise GrowreelError(f"{where}: is no record of a store; restore the file from a copy")
        return cls(**facts)

    def facts(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self)

    def differences(self, other: DataRecord) -> list[str]:
        """`name: this -> other` for each fact that differs; none if the clips are the same."""
        named = {"clips": "clips", "size": "size", "channels": "colour channels", "fps": "frame rate", "sha256": "contents"}
        pairs = [(title, getattr(self, name), getattr(other, name)) for name, title in named.items()]
        return [f"{title}: {str(mine)[:13]} -> {str(theirs)[:13]}" for title, mine, theirs in pairs if mine != theirs]
