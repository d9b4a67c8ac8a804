"""The clip store: a folder with `index.json` and, per pyramid level, uint8 shards `levels/<TxHxW>/<nnnnn>.npy` [n, t, h, w, c].

Needs numpy alone, so a prepared store is read on machines without any video library.
"""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from growreel.data.index import Shard, check_index
from growreel.data.verified import VerifiedShards
from growreel.errors import GrowreelError
from growreel.growth import Size, TimeReduction
from growreel.reading.faults import why
from growreel.reading.files import open_descriptor, open_file, read_file
from growreel.reading.json_tree import parse_json
from growreel.reading.words import plain, shown

FORMAT = "growreel-clip-store"
PART_FORMAT = f"{FORMAT}-part"
"""What `prepare --shard` leaves: clips, and an index that says where their sources belong."""
VERSION = 1
INDEX = "index.json"
JOURNAL = "journal.jsonl"  # of a store that is being written
MAX_CACHED_FILES = 256  # of the 1,024 a process may usually open


@dataclass(frozen=True)
class ClipRecord:
    """Where a clip came from: path relative to SOURCE, number of its first frame there, index of its label or None."""

    source: str
    frame: int
    label: int | None


class ClipStore:
    """A prepared store, open for reading. `read` may be called from several threads.

    Attributes: `path`, `size` (of the full level), `channels` (1 or 3), `fps` (of playing a full clip), `labels` (names),
    `clips` (one ClipRecord each), `options` (what prepare was told), `held_out` (sources that are not for
    training), `skipped` (name and reason of sources left out), `rates` (frames per second, and how many clips play at
    that rate, ascending; of stores of this version that have any).
    """

    def __init__(self, path: Path, index: dict[str, Any]) -> None:
        """Use `ClipStore.open`. Raises ValueError, naming the entry that is wrong, for an index that is damaged."""
        self._shards = check_index(index)
        shape = index["shape"]
        self.path = path
        self.size = Size(int(shape["t"]), int(shape["h"]), int(shape["w"]))
        self.channels = int(shape["c"])
        self.fps = float(index["fps"])
        self.labels: tuple[str, ...] = tuple(index["labels"])
        self.clips = tuple(ClipRecord(source, int(frame), label) for source, frame, label in index["clips"])
        self.options: dict[str, Any] = dict(index["options"])
        self.skipped: tuple[tuple[str, str], ...] = tuple((name, reason) for name, reason in index["skipped"])
        self.held_out = frozenset[str](index.get("held_out", ()))
        self.rates = tuple((float(rate), int(clips)) for rate, clips in index.get("rates", ()))
        self._verified = VerifiedShards(path)
        self._files: dict[str, int] = {}
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> ClipStore:
        """Open the store at `path`.

        Raises GrowreelError, saying what to do, where there is no store, its format version is another one, its index is
        damaged, or a shard is missing or has another length than the index says.
        """
        path = Path(path)
        index = read_index(path)
        try:
            store = cls(path, index)
        except (ValueError, RecursionError) as error:
            raise GrowreelError(f"{path / INDEX}: damaged index ({plain(error)}); restore it or run prepare again") from error
        store._check_shards()
        return store

    def _check_shards(self) -> None:
        for size, shards in self._shards.items():
            for shard in shards:
                file = self.path / shard.file
                expected = header_bytes(size, self.channels, shard.clips)
                try:
                    with open_file(file) as stream:
                        header, length = stream.read(len(expected)), os.fstat(stream.fileno()).st_size
                except OSError as error:
                    raise GrowreelError(f"{file}: shard cannot be read ({why(error)}); restore it or run prepare again") from error
                full = len(expected) + shard.clips * clip_bytes(size, self.channels)
                if length != full:
                    raise GrowreelError(f"{file}: shard has {length:,} bytes, should have {full:,}; restore it or run prepare again")
                if header != expected:
                    raise GrowreelError(f"{file}: shard has a damaged header; restore it or run prepare again")

    def __len__(self) -> int:
        return len(self.clips)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the files that `read` keeps open. A later `read` opens them again."""
        with self._lock:
            while self._files:
                os.close(self._files.popitem()[1])

    def levels(self) -> tuple[Size, ...]:
        """The sizes stored, the full one first."""
        return tuple(self._shards)

    def level_for(self, size: Size, time_reduction: TimeReduction = "average") -> Size:
        """The smallest stored level that is an integer multiple (>= 1) of `size` on every axis, with all frames for `subsample`.

        Averaging it over boxes of that multiple (in time: taking the first of each box) gives the clip at `size`. Raises GrowreelError
        if no level is.
        """
        if time_reduction == "subsample" and self.size.t % size.t == 0:
            size = size._replace(t=self.size.t)
        fitting = [level for level in self._shards if all(have % want == 0 for have, want in zip(level, size, strict=True))]
        if fitting:
            return min(fitting, key=lambda level: level.voxels)
        fits = Size(*(_largest_halving(have, want) for have, want in zip(self.size, size, strict=True)))
        small = any(have < want for have, want in zip(self.size, size, strict=True))
        problem = "are smaller than" if small else "are not a whole multiple of"
        raise GrowreelError(
            f"{self.path}: its clips, {self.size}, {problem} {size}; choose a target that fits, e.g. --target {fits}, "
            f"or run prepare again with --size {size}"
        )

    def read(self, indices: Sequence[int], size: Size, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Read clips at a stored level, straight into `out` where given.

        Args:
            indices: clip numbers, each in [0, len(self)); in any order, repeats allowed.
            size: one of `levels()`.
            out: C-contiguous uint8 [n, t, h, w, c] to fill, e.g. the numpy view of a pinned tensor.

        Returns:
            uint8 [n, t, h, w, c]; `out` itself where given.

        Raises:
            GrowreelError: if `size` is not stored, an index is out of range, or a shard has become unreadable.
        """
        if size not in self._shards:
            raise GrowreelError(f"{self.path}: no level {size}; stored are {', '.join(map(str, self._shards))}")
        shape = (len(indices), *size, self.channels)
        if out is None:
            out = np.empty(shape, np.uint8)
        elif out.shape != shape or out.dtype != np.uint8 or not out.flags.c_contiguous:
            raise GrowreelError(f"out: must be a C-contiguous uint8 array {shape}, is {out.dtype} {out.shape}")
        shards = self._shards[size]
        per_shard, stride = shards[0].clips, clip_bytes(size, self.channels)
        start = len(header_bytes(size, self.channels, per_shard))
        for row, index in enumerate(map(int, indices)):
            if not 0 <= index < len(self):
                raise GrowreelError(f"{self.path}: no clip {index}; the store holds {len(self)}")
            shard, place = shards[index // per_shard], index % per_shard
            self._read_into(out[row], shard, start + place * stride)
        return out

    def _read_into(self, clip: NDArray[np.uint8], shard: Shard, offset: int) -> None:
        check_system(self.path)
        file = shard.file
        descriptor, cached = self._descriptor(shard)
        view = clip.reshape(-1).data
        done = 0
        try:
            while done < len(view):
                count = os.preadv(descriptor, [view[done:]], offset + done)
                if count == 0:
                    raise GrowreelError(f"{self.path / file}: ends too early; restore it or run prepare again")
                done += count
        except OSError as error:
            raise GrowreelError(f"{self.path / file}: cannot be read ({why(error)})") from error
        finally:
            if not cached:
                os.close(descriptor)

    def _descriptor(self, shard: Shard) -> tuple[int, bool]:
        """An open file, compared with its checksum at its first use, and whether it stays open.

        Past the limit nothing is evicted: another thread might be reading it.
        """
        with self._lock:
            if shard.file in self._files:
                return self._files[shard.file], True
            descriptor = self._open(shard)
            if len(self._files) >= MAX_CACHED_FILES:
                return descriptor, False
            self._files[shard.file] = descriptor
            return descriptor, True

    def _open(self, shard: Shard) -> int:
        file = self.path / shard.file
        try:
            descriptor = open_descriptor(file)
            try:
                self._verified.check(file, shard.file, shard.sha256, descriptor)
            except BaseException:
                os.close(descriptor)
                raise
        except OSError as error:
            raise GrowreelError(f"{file}: cannot be opened ({why(error)})") from error
        return descriptor

    def verify(self) -> None:
        """Recompute every checksum. Raises GrowreelError naming the shards that differ."""
        shards = [shard for level in self._shards.values() for shard in level]
        try:
            damaged = [shard.file for shard in shards if file_checksum(self.path / shard.file) != shard.sha256]
        except OSError as error:
            raise GrowreelError(f"{self.path}: a shard cannot be read ({why(error)})") from error
        if damaged:
            raise GrowreelError(f"{self.path}: damaged shards: {', '.join(damaged)}; restore them or run prepare again")

    def disk_bytes(self) -> int:
        """Bytes of all shards together."""
        return sum((self.path / shard.file).stat().st_size for shards in self._shards.values() for shard in shards)


def read_index(path: Path) -> dict[str, Any]:
    """The parsed `index.json` of the store at `path`, its format and version checked. Raises GrowreelError."""
    if not path.exists():
        partial = partial_path(path)
        hint = f"; an unfinished one is at {partial}: run the same prepare again" if partial.exists() else "; make it with growreel prepare"
        raise GrowreelError(f"{path}: no such clip store{hint}")
    if not (path / INDEX).is_file():
        raise GrowreelError(f"{path}: not a clip store (it has no {INDEX}); make one with growreel prepare")
    text = read_file(path / INDEX, advice="restore it or run prepare again")
    try:
        index = parse_json(text)
    except ValueError as error:
        raise GrowreelError(f"{path / INDEX}: damaged index ({error}); run prepare again") from error
    if isinstance(index, dict) and index.get("format") == PART_FORMAT:
        raise GrowreelError(f"{path}: a part of a store, made with --shard; join all parts with growreel merge")
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise GrowreelError(f"{path}: not a clip store ({INDEX} is something else's); make one with growreel prepare")
    if type(index.get("version")) is not int or index["version"] != VERSION:
        raise GrowreelError(
            f"{path}: clip store of format version {shown(index.get('version'))}, this growreel reads version {VERSION}; run prepare again"
        )
    return index


def check_system(path: Path) -> None:
    """Raise GrowreelError where the operating system cannot read clips, so that none are prepared in vain."""
    if not hasattr(os, "preadv"):
        raise GrowreelError(f"{path}: clips are read by preadv, which this system lacks; on Windows use WSL")


def partial_path(path: Path) -> Path:
    """The folder beside `path` in which a store grows until it is whole."""
    return path.with_name(path.name + ".partial")


def check_destination(path: Path, overwrite: bool) -> None:
    """Raise GrowreelError unless a store may be put at `path`. Puts an old store back that was being replaced at a crash."""
    old = replaced_path(path)
    if old.exists() and not path.exists():
        old.rename(path)
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not _looks_like_store(path):
        raise GrowreelError(f"{path}: exists and is not a clip store; choose another path for the store")
    (path / JOURNAL).unlink(missing_ok=True)  # of a writer that was killed when the store was in place
    if not overwrite:
        raise GrowreelError(f"{path}: a clip store is there already; add --overwrite to replace it, or choose another path")


def _looks_like_store(path: Path) -> bool:
    """Whether `path` is a clip store of any version, even a damaged one; other folders are never replaced."""
    if not (path / INDEX).is_file():
        return False
    with (path / INDEX).open("rb") as stream:
        return FORMAT.encode() in stream.read(256) or (path / "levels").is_dir()


def replaced_path(path: Path) -> Path:
    return path.with_name(path.name + ".replaced")


def clip_bytes(size: Size, channels: int) -> int:
    return size.voxels * channels


def header_bytes(size: Size, channels: int, clips: int) -> bytes:
    """The .npy header of a shard. Its length does not depend on `clips`: numpy leaves room for the first axis to grow."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": (clips, *size, channels)})
    return stream.getvalue()


def file_checksum(file: Path) -> str:
    """The sha256 of a regular file. Raises OSError, and GrowreelError for what is no regular file."""
    with open_file(file) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _largest_halving(extent: int, at_most: int) -> int:
    while extent > at_most and extent % 2 == 0:
        extent //= 2
    return extent
