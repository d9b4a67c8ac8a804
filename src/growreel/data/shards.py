"""The pixels of an unfinished store: for each level of the pyramid, files of many clips, written at their places and sealed at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from growreel.data.journal import write_all
from growreel.data.pyramid import pyramid, pyramid_sizes
from growreel.data.store import clip_bytes, file_checksum, header_bytes
from growreel.growth import Size

SEALED_AT_ONCE = 4


class Shards:
    """The files below a folder. OSErrors are passed on.

    Args:
        folder: of the store.
        size: of every clip.
        channels: 1 or 3.
        largest: bytes of a file; one has at least one clip.
    """

    def __init__(self, folder: Path, size: Size, channels: int, largest: int) -> None:
        self._folder, self._channels = folder, channels
        self._levels = {level: max(1, largest // clip_bytes(level, channels)) for level in pyramid_sizes(size)}
        self._headers = {level: header_bytes(level, channels, per_shard) for level, per_shard in self._levels.items()}
        self._open: dict[Size, tuple[int, int]] = {}

    def holds(self, clips: int) -> bool:
        """Whether every level has bytes for that many clips."""
        for level, per_shard in self._levels.items():
            for shard, count in _shards(clips, per_shard):
                file = self._file(level, shard)
                full = len(header_bytes(level, self._channels, per_shard)) + count * clip_bytes(level, self._channels)
                if not file.is_file() or file.stat().st_size < full:
                    return False
        return True

    def write(self, clip: NDArray[np.uint8], number: int) -> None:
        """Write a clip [t, h, w, c] and its smaller levels, the `number`-th of the store."""
        for level, pixels in zip(self._levels, pyramid(clip), strict=True):
            self._write(level, number, np.ascontiguousarray(pixels))

    def write_pyramids(self, file: Path, count: int, first: int) -> int:
        """Write clips whose pyramids lie in `file`, all levels of a clip before the next; return how many bytes it should have.

        Nothing is written if it has not.
        """
        ends = np.cumsum([0] + [clip_bytes(level, self._channels) for level in self._levels])
        spool = np.memmap(file, np.uint8, "r")
        if len(spool) == count * ends[-1]:
            pyramids = spool.reshape(count, ends[-1])
            for (level, per_shard), start, end in zip(self._levels.items(), ends[:-1], ends[1:], strict=True):
                # All clips of a level in one go, as far as a shard has room.
                done = 0
                while done < count:
                    more = min(count - done, per_shard - (first + done) % per_shard)
                    self._write(level, first + done, np.ascontiguousarray(pyramids[done : done + more, start:end]))
                    done += more
        return count * int(ends[-1])

    def close(self) -> None:
        """Close files; they can be written again."""
        while self._open:
            os.close(self._open.popitem()[1][1])

    def seal(self, clips: int) -> dict[str, list[dict[str, Any]]]:
        """Give every shard its final header and length, bring it to the disk, and return the levels' index entries."""
        shards = [(level, shard, count) for level, per_shard in self._levels.items() for shard, count in _shards(clips, per_shard)]
        entries: dict[str, list[dict[str, Any]]] = {}
        with ThreadPoolExecutor(SEALED_AT_ONCE) as pool:  # the disk and the checksums need not wait for each other
            for (level, _, _), entry in zip(shards, pool.map(lambda shard: self._seal_shard(*shard), shards), strict=True):
                entries.setdefault(str(level), []).append(entry)
        for name, sealed in entries.items():
            for leftover in (self._folder / "levels" / name).glob("*.npy"):  # begun for a clip that was never finished
                if int(leftover.stem) >= len(sealed):
                    leftover.unlink()
        return entries

    def _file(self, level: Size, shard: int) -> Path:
        return self._folder / "levels" / str(level) / f"{shard:05d}.npy"

    def _write(self, level: Size, number: int, pixels: NDArray[np.uint8]) -> None:
        """Write clips that follow one another, the first of which is `number`, into one shard of a level."""
        shard, place = divmod(number, self._levels[level])
        header = self._headers[level]
        if self._open.get(level, (-1, -1))[0] != shard:
            if level in self._open:
                os.close(self._open.pop(level)[1])
            file = self._file(level, shard)
            file.parent.mkdir(parents=True, exist_ok=True)
            self._open[level] = (shard, os.open(file, os.O_RDWR | os.O_CREAT, 0o666))
            write_all(self._open[level][1], header, 0)
        write_all(self._open[level][1], pixels.reshape(-1), len(header) + place * clip_bytes(level, self._channels))

    def _seal_shard(self, level: Size, shard: int, count: int) -> dict[str, Any]:
        file = self._file(level, shard)
        header = header_bytes(level, self._channels, count)
        with file.open("r+b") as stream:
            write_all(stream.fileno(), header, 0)
            os.ftruncate(stream.fileno(), len(header) + count * clip_bytes(level, self._channels))
            os.fsync(stream.fileno())
        return {"file": file.relative_to(self._folder).as_posix(), "clips": count, "sha256": file_checksum(file)}


def _shards(clips: int, per_shard: int) -> Iterator[tuple[int, int]]:
    """Number and clip count of each shard that holds `clips` clips."""
    for shard in range(-(-clips // per_shard)):
        yield shard, min(per_shard, clips - shard * per_shard)
