"""`index.json` of a clip store: what must be in it, and its checksum.

The checksum is of the contents, not of the text: keys in another order or other spaces are the same index. Older
stores have none.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from growreel.growth import Size
from growreel.reading.structure import Within, convert
from growreel.reading.words import shown

CHECKSUM = "sha256"
MOST_CLIPS = 2**40
MOST_LEVELS = 1000
MOST_FPS = 1e6

Extent = Annotated[int, Within(1, 2**31)]
Count = Annotated[int, Within(1, MOST_CLIPS)]
Rate = Annotated[float, Within(1 / MOST_FPS, MOST_FPS)]


@dataclass(frozen=True)
class Shape:
    """The entry `shape`: frames, rows, columns and colours of a full clip."""

    t: Extent
    h: Extent
    w: Extent
    c: Literal[1, 3]


@dataclass(frozen=True)
class Shard:
    """One file of a level: its path in the store, how many clips it holds, its checksum."""

    file: Annotated[str, Within(1, 200)]
    clips: Count
    sha256: str


def sign_index(index: dict[str, Any]) -> dict[str, Any]:
    """The index with its checksum."""
    return {**index, CHECKSUM: _digest(index)}


def check_index(index: dict[str, Any]) -> dict[Size, tuple[Shard, ...]]:
    """Check everything that the index of a store says, and return the shards of its levels, the full one first.

    Raises ValueError, naming the entry that is wrong and its value. That the shards are there and as long as they should be is for
    `ClipStore.open` to see.
    """
    if CHECKSUM in index and index[CHECKSUM] != _digest(index):
        raise ValueError("its checksum is not that of its contents")
    for name in ("shape", "fps", "count", "labels", "clips", "options", "skipped", "levels"):
        if name not in index:
            raise ValueError(f"{name} is missing")
    shape: Shape = convert(index["shape"], Shape, "shape")
    convert(index["fps"], Rate, "fps")
    count = convert(index["count"], Count, "count")
    labels = convert(index["labels"], tuple[str, ...], "labels")
    convert(index["options"], dict[str, Any], "options")
    convert(index["skipped"], tuple[tuple[str, str], ...], "skipped")
    convert(index.get("held_out", []), tuple[str, ...], "held_out")
    convert(index.get("rates", []), tuple[tuple[Rate, Count], ...], "rates")
    _check_clips(index["clips"], count, len(labels))
    levels = convert(index["levels"], Annotated[dict[str, tuple[Shard, ...]], Within(1, MOST_LEVELS)], "levels")
    shards = {Size.parse(name, "levels"): each for name, each in levels.items()}
    if len(shards) < len(levels) or Size(shape.t, shape.h, shape.w) not in shards:
        raise ValueError("levels are there twice, or the full size is not among them")
    for size, each in shards.items():
        _check_shards(f"levels.{size}", each, count)
    return shards


def _digest(index: dict[str, Any]) -> str:
    contents = {name: value for name, value in index.items() if name != CHECKSUM}
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()


def _check_clips(clips: Any, count: int, labels: int) -> None:
    """Each clip is [source, number of its first frame, number of its label or null]. There may be millions, so this is a plain loop."""
    if not isinstance(clips, list) or len(clips) != count:
        raise ValueError(f"clips: are {len(clips) if isinstance(clips, list) else shown(clips)}, count is {count}")
    for number, clip in enumerate(clips):
        match clip:
            case [str(), int(frame), None] if frame >= 0 and frame is not True and frame is not False:
                pass
            case [str(), int(frame), int(label)] if frame >= 0 and 0 <= label < labels and bool not in (type(frame), type(label)):
                pass
            case _:
                raise ValueError(f"clips[{number}]: {shown(clip)} is not [source, first frame, label of {labels} or null]")


def _check_shards(where: str, shards: tuple[Shard, ...], count: int) -> None:
    """All shards but the last hold the same number of clips, which is how a clip is found; together they hold all clips."""
    held = [shard.clips for shard in shards]
    if sum(held) != count or any(clips != held[0] for clips in held[:-1]) or held[-1] > held[0]:
        raise ValueError(f"{where}: its shards hold {shown(held)} clips; all but the last must hold the same, together {count}")
    if len({shard.file for shard in shards}) < len(shards):
        raise ValueError(f"{where}: it names a file twice")
    for shard in shards:
        path = PurePosixPath(shard.file)
        if path.is_absolute() or ".." in path.parts or "\\" in shard.file or not shard.file.isprintable() or path.suffix != ".npy":
            raise ValueError(f"{where}: {shown(shard.file)} is no .npy file inside the store")
        if not re.fullmatch("[0-9a-f]{64}", shard.sha256):
            raise ValueError(f"{where}: {shown(shard.sha256)} is no sha256")
