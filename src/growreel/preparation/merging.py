"""Parts of a store, made on different machines, and the store that they are together.

`prepare --shard i/n` takes every n-th source, from the i-th on, and leaves a part: a folder of clips like a store, with an `index.json`
that says of each source which place it has among all. `merge` writes the sources of all parts in their places: the bytes are those of one
`prepare` that was not divided.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from growreel.data.pyramid import pyramid_sizes
from growreel.data.store import INDEX, PART_FORMAT, check_destination, clip_bytes, file_checksum, header_bytes
from growreel.data.writer import StoreWriter
from growreel.errors import GrowreelError
from growreel.growth import Size
from growreel.preparation.finishing import finish_store
from growreel.preparation.report import PrepareReport, SourceRow
from growreel.preparation.sources import Source

PART_VERSION = 1
COPIED = 2**26  # bytes of clips that are copied at a time


@dataclass(frozen=True)
class Shard:
    """The `number`-th, from 1, of `count` parts."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From `2/8`. Raises GrowreelError for anything else."""
        number, slash, count = text.partition("/")
        if not (slash and number.isascii() and number.isdigit() and count.isascii() and count.isdigit() and 1 <= int(number) <= int(count)):
            raise GrowreelError(f"--shard {text}: is not I/N with I from 1 to N, e.g. 2/8")
        return cls(int(number), int(count))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def digest_of_sources(sources: Sequence[Source]) -> str:
    """Changes with the names, the order and the content of all sources: parts of one store agree in it."""
    digest = hashlib.sha256()
    for each in sources:
        digest.update(f"{each.name}\0{each.content_key()}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


def finish_part(
    writer: StoreWriter, shard: Shard, whole: str, skips: Sequence[SourceRow], sources: Sequence[Sequence[SourceRow]], *, anonymous: bool
) -> PrepareReport:
    """Put a part in place.

    Args:
        writer: has the clips of the part's sources.
        shard: which part.
        whole: `digest_of` all sources.
        skips: what gives no clips, in all parts alike.
        sources: the rows of each source of the part.
        anonymous: keep no names.
    """
    listed = [[asdict(_unnamed(row) if anonymous else row) for row in rows] for rows in sources]
    facts = {
        "format": PART_FORMAT,
        "version": PART_VERSION,
        "shard": [shard.number, shard.count],
        "whole": whole,
        "skips": [asdict(_unnamed(row) if anonymous else row) for row in skips],
        "rows": listed,
    }
    writer.finish_part(facts)
    rows = (*skips, *(row for rows in sources for row in rows))
    note = f"part {shard} of a store; when all are there: growreel merge PART... STORE"
    return PrepareReport(writer.path, writer.clip_count, rows, (note,))


def merge(parts: Sequence[str | os.PathLike[str]], store: str | os.PathLike[str], *, overwrite: bool = False) -> PrepareReport:
    """Write the store that parts are together; their order does not matter.

    An interrupted call leaves `<store>.partial`, and the same call continues it. The parts stay.

    Args:
        parts: folders that `prepare` wrote with `shard`, all of one division.
        store: folder to write.
        overwrite: replace an older store.

    Raises:
        GrowreelError: if a part is missing, given twice, damaged, or of another store; if `store` is taken; or the disk is full.
    """
    store = Path(store)
    opened = [_Part(Path(part)) for part in parts]
    _check_together(opened)
    check_destination(store, overwrite)
    for part in opened:
        part.verify()
    opened.sort(key=lambda part: part.shard.number)
    count, first = len(opened), opened[0]
    places = sum(len(part.rows) for part in opened)
    options = {name: value for name, value in first.options.items() if name != "shard"}
    with StoreWriter(store, first.size, first.channels, options=options, origin=first.whole, overwrite=overwrite) as writer:
        rows = list(first.skips)
        keys = [(f"{place}", first.whole) for place in range(places)]
        kept = len(writer.keep_leading(keys))
        for place in range(places):
            part, number = opened[place % count], place // count
            rows += part.rows[number]
            if place >= kept:
                part.copy(number, writer)
                writer.finish_source(*keys[place][:1], None, first.whole)
        return finish_store(writer, rows, anonymous=bool(options.get("anonymous")))


class _Part:
    """A part that is whole, open for reading."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            index = json.loads((path / INDEX).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise GrowreelError(f"{path}: no part of a store; make it with growreel prepare --shard, to its end") from error
        except (OSError, ValueError) as error:
            raise GrowreelError(f"{path / INDEX}: cannot be read ({error}); make this part again") from error
        if not isinstance(index, dict) or index.get("format") != PART_FORMAT or index.get("version") != PART_VERSION:
            raise GrowreelError(f"{path}: is not a part that this growreel's prepare --shard wrote; leave it out, or make it again")
        try:
            self.shard = Shard(*map(int, index["shard"]))
            self.whole = str(index["whole"])
            self.size, self.channels = Size.parse(index["size"]), int(index["channels"])
            self.options: dict[str, Any] = dict(index["options"])
            self.skips = [SourceRow(**row) for row in index["skips"]]
            self.rows = [[SourceRow(**row) for row in rows] for rows in index["rows"]]
            self._clips = [[(str(name), int(frame), label) for name, frame, label in clips] for clips in index["clips"]]
            shards = {
                level: [(str(s["file"]), int(s["clips"]), str(s["sha256"])) for s in files] for level, files in index["levels"].items()
            }
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise GrowreelError(f"{path / INDEX}: damaged ({type(error).__name__}: {error}); make this part again") from error
        self._levels = pyramid_sizes(self.size)
        self._shards = [shards.get(str(level), []) for level in self._levels]
        self._starts = np.cumsum([0] + [len(clips) for clips in self._clips]).tolist()
        counts = {sum(clips for _, clips, _ in files) for files in self._shards}
        if len(self._clips) != len(self.rows) or counts != {self._starts[-1]}:
            raise GrowreelError(f"{path / INDEX}: damaged (its counts disagree); make this part again")

    def verify(self) -> None:
        """Raise GrowreelError if a file is not as it was written."""
        for file, _, checksum in (shard for files in self._shards for shard in files):
            path = self.path / file
            if not path.resolve().is_relative_to(self.path.resolve()) or not path.is_file() or file_checksum(path) != checksum:
                raise GrowreelError(f"{path}: is missing or damaged; make this part again")

    def copy(self, number: int, writer: StoreWriter) -> None:
        """Append the clips of the part's `number`-th source."""
        clips, start = self._clips[number], self._starts[number]
        together = max(1, COPIED // sum(clip_bytes(level, self.channels) for level in self._levels))
        file = writer.new_spool() / "merged.clips"
        for first in range(0, len(clips), together):
            some = clips[first : first + together]
            with file.open("wb") as spool:
                for clip in range(start + first, start + first + len(some)):
                    for level, files in zip(self._levels, self._shards, strict=True):
                        spool.write(self._read(level, files, clip))
            writer.append_pyramids(file, some)

    def _read(self, level: Size, files: list[tuple[str, int, str]], clip: int) -> bytes:
        shard, place = divmod(clip, files[0][1])
        length = clip_bytes(level, self.channels)
        with (self.path / files[shard][0]).open("rb") as stream:
            stream.seek(len(header_bytes(level, self.channels, files[shard][1])) + place * length)
            return stream.read(length)


def _check_together(parts: Sequence[_Part]) -> None:
    if not parts:
        raise GrowreelError("merge: no parts; name all folders that prepare --shard wrote, then the store")
    first = parts[0]
    seen: dict[int, Path] = {}
    for part in parts:
        if part.shard.number in seen:
            raise GrowreelError(f"{part.path}: is part {part.shard}, like {seen[part.shard.number]}; name each part once")
        seen[part.shard.number] = part.path
        if (part.shard.count, _without_shard(part)) != (first.shard.count, _without_shard(first)):
            raise GrowreelError(f"{part.path}: was made with other options than {first.path}; make both with the same")
        if part.whole != first.whole:
            raise GrowreelError(
                f"{part.path}: SOURCE had other files or times than for {first.path}; make the parts again from the same files"
            )
    missing = [f"{number}/{first.shard.count}" for number in range(1, first.shard.count + 1) if number not in seen]
    if missing:
        raise GrowreelError(f"merge: missing: part {', '.join(missing)}; make it with growreel prepare --shard, and name it too")


def _without_shard(part: _Part) -> dict[str, Any]:
    return {**part.options, "shard": None, "size": str(part.size), "channels": part.channels}


def _unnamed(row: SourceRow) -> SourceRow:
    return replace(row, name="a source", note="")
