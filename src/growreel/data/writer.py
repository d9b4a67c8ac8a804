"""Writing a clip store: in a `.partial` folder beside it, source by source, so that an interrupted writer goes on where it was."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from growreel.data.duplicates import find_duplicates, sources_together
from growreel.data.index import sign_index
from growreel.data.pyramid import pyramid, pyramid_sizes
from growreel.data.split import held_out_sources
from growreel.data.store import (
    FORMAT,
    INDEX,
    JOURNAL,
    VERSION,
    ClipStore,
    check_destination,
    check_system,
    clip_bytes,
    file_checksum,
    header_bytes,
    partial_path,
    replaced_path,
)
from growreel.errors import GrowreelError
from growreel.growth import Size
from growreel.runtime.durable import replace_text, sync_folder
from growreel.runtime.locks import lock_descriptor

SPOOL = "spool"  # folder for what comes before its turn
SEALED_AT_ONCE = 4
SHARD_BYTES = 256 * 2**20


class StoreWriter:
    """Writes the store at `path`; use it as a context manager.

    Clips are appended source by source; `finish_source` notes a source in the journal, and from then on it survives whatever
    interrupts the writer. `finish` puts the whole store in place by renaming; until then an older store stays as it is.

    Args:
        path: folder of the finished store.
        size: of every clip.
        channels: 1 or 3.
        options: what the clips depend on (JSON values), kept in the index. A partial store begun with other options is refused.
        origin: where the clips come from; compared like the options, but never part of the store.
        overwrite: replace a store that is already there (never a folder that is something else).
        resume: continue an unfinished store of the same options; False starts it again.
        shard_bytes: largest size of a shard; a shard has at least one clip.

    Raises:
        GrowreelError: before any work if `path` is taken, another process writes there, or the partial store has other options;
            later if the disk is full, saying what is safe.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        size: Size,
        channels: int,
        *,
        options: Mapping[str, Any],
        origin: str | None = None,
        overwrite: bool = False,
        resume: bool = True,
        shard_bytes: int = SHARD_BYTES,
    ) -> None:
        self.path = Path(path)
        self.partial = partial_path(self.path)
        self.spool = self.partial / SPOOL
        self.size, self.channels = size, channels
        self._levels = {level: max(1, shard_bytes // clip_bytes(level, channels)) for level in pyramid_sizes(size)}
        self._headers = {level: header_bytes(level, channels, per_shard) for level, per_shard in self._levels.items()}
        self._heading: dict[str, Any] = {
            "version": VERSION,
            "size": str(size),
            "channels": channels,
            "shard_bytes": shard_bytes,
            "options": dict(options),
        }
        if origin is not None:
            self._heading["origin"] = origin
        self._entries: list[dict[str, Any]] = []
        self._ends: list[int] = []  # of their lines in the journal
        self._heading_end = 0
        self._finished_clips = 0
        self._pending: list[tuple[str, int, str | None]] = []
        self._open: dict[Size, tuple[int, int]] = {}
        check_system(self.path)
        check_destination(self.path, overwrite)
        with self._disk_errors():
            self.partial.mkdir(parents=True, exist_ok=True)
            self._journal = os.open(self.partial / JOURNAL, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            lock_descriptor(self._journal)
        except OSError as error:
            os.close(self._journal)
            raise GrowreelError(f"{self.partial}: another process is writing there; wait for it or choose another store") from error
        try:
            self._read_journal(resume)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def finished(self) -> Mapping[str, Any]:
        """The sources already in the journal, each with the `report` given to `finish_source`."""
        return {entry["source"]: entry["report"] for entry in self._entries}

    @property
    def clip_count(self) -> int:
        """Clips of all finished sources."""
        return self._finished_clips

    def sources(self) -> list[str]:
        """The source of each clip so far."""
        return [clip[0] for entry in self._entries for clip in entry["clips"]]

    def keep_leading(self, sources: Sequence[tuple[str, str]]) -> list[Any]:
        """Go on behind the finished sources that are the first of `sources` (key and content each); return their reports.

        What the journal has beyond them is of sources that have changed or moved, and is done again: the store is then the same as
        one that was never interrupted.
        """
        kept = 0
        for entry, (key, content) in zip(self._entries, sources, strict=False):
            if (entry["source"], entry.get("content")) != (key, content):
                break
            kept += 1
        if kept < len(self._entries):
            self._cut_journal(kept)
        return [entry["report"] for entry in self._entries]

    def append(self, clip: NDArray[np.uint8], *, source: str, frame: int = 0, label: str | None = None) -> None:
        """Write one clip, uint8 [t, h, w, c], and its pyramid. Raises GrowreelError if the disk is full."""
        if clip.shape != (*self.size, self.channels) or clip.dtype != np.uint8:
            raise GrowreelError(f"{source}: clip is {clip.dtype} {list(clip.shape)}, must be uint8 {[*self.size, self.channels]}")
        number = self.clip_count + len(self._pending)
        with self._disk_errors():
            for level, pixels in zip(self._levels, pyramid(clip), strict=True):
                self._write_clips(level, number, np.ascontiguousarray(pixels))
        self._pending.append((source, frame, label))

    def append_pyramids(self, file: Path, clips: Sequence[tuple[str, int, str | None]]) -> None:
        """Write clips whose pyramids lie in `file`, all levels of a clip before the next. `clips`: source, first frame, label of each.

        Raises GrowreelError if the disk is full, or the file is shorter than its clips.
        """
        ends = np.cumsum([0] + [clip_bytes(level, self.channels) for level in self._levels])
        with self._disk_errors():
            spool = np.memmap(file, np.uint8, "r")
            if len(spool) != len(clips) * ends[-1]:
                raise GrowreelError(f"{file}: {len(spool):,} bytes, should have {len(clips) * ends[-1]:,}; run the same command again")
            pyramids = spool.reshape(len(clips), ends[-1])
            first = self.clip_count + len(self._pending)
            for (level, per_shard), start, end in zip(self._levels.items(), ends[:-1], ends[1:], strict=True):
                # All clips of a level in one go, as far as a shard has room.
                done = 0
                while done < len(clips):
                    more = min(len(clips) - done, per_shard - (first + done) % per_shard)
                    self._write_clips(level, first + done, np.ascontiguousarray(pyramids[done : done + more, start:end]))
                    done += more
        self._pending += clips

    def finish_source(self, key: str, report: Any = None, content: str = "") -> None:
        """Note in the journal that the clips appended since the last call are all that `key` gives.

        `report` (JSON) is kept; `content` says which content of the source it was (see `keep_leading`).
        """
        entry = {"source": key, "content": content, "clips": self._pending, "report": report}
        with self._disk_errors():
            end = _append_line(self._journal, entry)
        self._remember(entry, end)
        self._pending = []

    def trouble(self, error: OSError) -> None:
        """Raise the GrowreelError that says what is safe, for trouble that another process had with the disk."""
        with self._disk_errors():
            raise error

    def finish(self, *, fps: float, skipped: Sequence[tuple[str, str]] = ()) -> None:
        """Write the index and put the store in place. Raises GrowreelError if there is no clip or the disk is full."""
        clips = [clip for entry in self._entries for clip in entry["clips"]]
        if not clips:
            raise GrowreelError(f"{self.path}: no clips to store")
        names = sorted({label for _, _, label in clips if label is not None})
        with self._disk_errors():
            self._close_shards()
            index = {
                "format": FORMAT,
                "version": VERSION,
                "count": len(clips),
                "shape": dict(zip("thwc", (*self.size, self.channels), strict=True)),
                "fps": fps,
                "labels": names,
                "options": self._heading["options"],
                "skipped": [list(skip) for skip in skipped],
                "levels": self._seal_levels(len(clips)),
                "clips": [[source, frame, None if label is None else names.index(label)] for source, frame, label in clips],
            }
            if (share := self._heading["options"].get("holdout")) is not None:
                index["held_out"] = self._held_out(index, float(share))
            shutil.rmtree(self.spool, ignore_errors=True)
            replace_text(self.partial / INDEX, json.dumps(sign_index(index)))
            self._put_in_place()
            (self.path / JOURNAL).unlink()
        self.close()

    def _held_out(self, index: dict[str, Any], share: float) -> list[str]:
        """The sources to hold out; copies and mirrored twins stay on one side."""
        with ClipStore(self.partial, index) as unfinished:
            groups = sources_together(unfinished, find_duplicates(unfinished))
        return sorted(held_out_sources([source for source, _, _ in index["clips"]], share, groups))

    def finish_part(self, facts: Mapping[str, Any]) -> None:
        """Put what was written in place as a part of a store: `facts`, and the clips of each source. Raises GrowreelError as `finish`."""
        with self._disk_errors():
            self._close_shards()
            heading = {name: self._heading[name] for name in ("size", "channels", "options")}
            levels = self._seal_levels(self.clip_count)
            index = {**facts, **heading, "levels": levels, "clips": [entry["clips"] for entry in self._entries]}
            shutil.rmtree(self.spool, ignore_errors=True)
            replace_text(self.partial / INDEX, json.dumps(index))
            self._put_in_place()
            (self.path / JOURNAL).unlink()
        self.close()

    def discard(self) -> None:
        """Remove the partial store."""
        self.close()
        shutil.rmtree(self.partial)

    def close(self) -> None:
        """Release files and the lock. What the journal has stays in the partial folder."""
        self._close_shards()
        if self._journal >= 0:
            os.close(self._journal)
            self._journal = -1

    def _read_journal(self, resume: bool) -> None:
        raw = os.pread(self._journal, os.fstat(self._journal).st_size, 0)
        lines = raw.split(b"\n")[:-1]  # a broken last line was never finished
        if not lines:
            os.ftruncate(self._journal, 0)
            with self._disk_errors():
                self._heading_end = _append_line(self._journal, self._heading)
            return
        try:
            heading, *entries = map(json.loads, lines)
        except ValueError as error:
            raise GrowreelError(f"{self.partial / JOURNAL}: damaged; delete {self.partial} to start again") from error
        if heading != json.loads(json.dumps(self._heading)):
            raise GrowreelError(
                f"{self.partial}: unfinished store made with other options ({_difference(heading, self._heading)}); "
                "run with those to continue it, or delete that folder to start again"
            )
        self._heading_end = end = len(lines[0]) + 1
        for line, entry in zip(lines[1:], entries, strict=True):
            # After a power cut the journal may be ahead of the shards: such sources are done again.
            if not resume or not self._holds(self.clip_count + len(entry["clips"])):
                break
            end += len(line) + 1
            self._remember(entry, end)
        os.ftruncate(self._journal, end)
        os.lseek(self._journal, 0, os.SEEK_END)

    def _remember(self, entry: dict[str, Any], end: int) -> None:
        self._entries.append(entry)
        self._ends.append(end)
        self._finished_clips += len(entry["clips"])

    def _cut_journal(self, count: int) -> None:
        """Forget all finished sources but the first `count`."""
        os.ftruncate(self._journal, self._ends[count - 1] if count else self._heading_end)
        entries, ends = self._entries[:count], self._ends[:count]
        self._entries, self._ends, self._finished_clips = [], [], 0
        for entry, end in zip(entries, ends, strict=True):
            self._remember(entry, end)

    def _holds(self, clips: int) -> bool:
        """Whether every level has bytes for that many clips."""
        for level, per_shard in self._levels.items():
            for shard, count in _shards(clips, per_shard):
                file = self._shard_file(level, shard)
                full = len(header_bytes(level, self.channels, per_shard)) + count * clip_bytes(level, self.channels)
                if not file.is_file() or file.stat().st_size < full:
                    return False
        return True

    def _shard_file(self, level: Size, shard: int) -> Path:
        return self.partial / "levels" / str(level) / f"{shard:05d}.npy"

    def _write_clips(self, level: Size, number: int, pixels: NDArray[np.uint8]) -> None:
        """Write clips that follow one another, the first of which is `number`, into one shard of a level."""
        shard, place = divmod(number, self._levels[level])
        header = self._headers[level]
        if self._open.get(level, (-1, -1))[0] != shard:
            if level in self._open:
                os.close(self._open.pop(level)[1])
            file = self._shard_file(level, shard)
            file.parent.mkdir(parents=True, exist_ok=True)
            self._open[level] = (shard, os.open(file, os.O_RDWR | os.O_CREAT, 0o666))
            _write_all(self._open[level][1], header, 0)
        _write_all(self._open[level][1], pixels.reshape(-1), len(header) + place * clip_bytes(level, self.channels))

    def _close_shards(self) -> None:
        while self._open:
            os.close(self._open.popitem()[1][1])

    def _seal_levels(self, clips: int) -> dict[str, list[dict[str, Any]]]:
        """Give every shard its final header and length, bring it to the disk, and return the levels' index entries."""
        shards = [(level, shard, count) for level, per_shard in self._levels.items() for shard, count in _shards(clips, per_shard)]
        entries: dict[str, list[dict[str, Any]]] = {}
        with ThreadPoolExecutor(SEALED_AT_ONCE) as pool:  # the disk and the checksums need not wait for each other
            for (level, _, _), entry in zip(shards, pool.map(lambda shard: self._seal_shard(*shard), shards), strict=True):
                entries.setdefault(str(level), []).append(entry)
        for name, sealed in entries.items():
            for leftover in (self.partial / "levels" / name).glob("*.npy"):  # begun for a clip that was never finished
                if int(leftover.stem) >= len(sealed):
                    leftover.unlink()
        return entries

    def _seal_shard(self, level: Size, shard: int, count: int) -> dict[str, Any]:
        file = self._shard_file(level, shard)
        header = header_bytes(level, self.channels, count)
        with file.open("r+b") as stream:
            _write_all(stream.fileno(), header, 0)
            os.ftruncate(stream.fileno(), len(header) + count * clip_bytes(level, self.channels))
            os.fsync(stream.fileno())
        return {"file": file.relative_to(self.partial).as_posix(), "clips": count, "sha256": file_checksum(file)}

    def _put_in_place(self) -> None:
        old = replaced_path(self.path)
        if self.path.exists():
            self.path.rename(old)
        self.partial.rename(self.path)
        sync_folder(self.path.parent)
        if old.exists():
            shutil.rmtree(old)

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        """Say what is safe when the disk is full or fails."""
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            problem = "the disk is full" if full else f"cannot write ({error.strerror})"
            remedy = "Make room" if full else "See to that"
            raise GrowreelError(
                f"{self.partial}: {problem}. {self.clip_count:,} clips of {len(self._entries):,} sources are safe in that folder. "
                f"{remedy}, then run the same command again: it continues from there."
            ) from error


def write_store(
    path: str | os.PathLike[str],
    clips: Iterable[NDArray[np.uint8]],
    *,
    fps: float,
    labels: Sequence[str | None] | None = None,
    source: str = "memory",
    overwrite: bool = False,
) -> ClipStore:
    """Store clips made in memory and open the store.

    Args:
        path: folder of the store.
        clips: uint8 [t, h, w, c] each, all of one shape, c 1 or 3; taken one by one.
        fps: frames per second at which a clip plays.
        labels: name of each clip's label, or None for none.
        source: what the index says the clips came from.
        overwrite: replace an older store.

    Raises:
        GrowreelError: if there are no clips, shapes differ, the count of labels differs, or `path` is taken.
    """
    check_destination(Path(path), overwrite)
    stream = iter(clips)
    first = next(stream, None)
    if first is None:
        raise GrowreelError(f"{path}: no clips to store")
    if first.ndim != 4 or first.shape[-1] not in (1, 3):
        raise GrowreelError(f"{source}: clip has shape {list(first.shape)}; must be [frames, height, width, 1 or 3]")
    size, channels = Size(*first.shape[:3]), first.shape[3]
    with StoreWriter(path, size, channels, options={"source": source}, overwrite=overwrite, resume=False) as writer:
        count = 0
        for clip in itertools.chain([first], stream):
            if labels is not None and count >= len(labels):
                raise GrowreelError(f"labels: {len(labels)} for more clips than that; give one per clip")
            writer.append(clip, source=source, frame=count * size.t, label=labels[count] if labels is not None else None)
            count += 1
        if labels is not None and count != len(labels):
            raise GrowreelError(f"labels: {len(labels)} for {count} clips; give one per clip")
        writer.finish_source(source)
        writer.finish(fps=fps)
    return ClipStore.open(path)


def _shards(clips: int, per_shard: int) -> Iterator[tuple[int, int]]:
    """Number and clip count of each shard that holds `clips` clips."""
    for shard in range(-(-clips // per_shard)):
        yield shard, min(per_shard, clips - shard * per_shard)


def _append_line(descriptor: int, value: Any) -> int:
    """Write one journal line at the end and return its end, or nothing: a line cut short by a full disk is taken back."""
    end = os.lseek(descriptor, 0, os.SEEK_END)
    line = json.dumps(value).encode() + b"\n"
    try:
        _write_all(descriptor, line, end)
    except OSError:
        os.ftruncate(descriptor, end)
        raise
    return end + len(line)


def _write_all(descriptor: int, data: bytes | NDArray[np.uint8], offset: int) -> None:
    view = memoryview(data) if isinstance(data, bytes) else data.data
    while view:
        count = os.pwrite(descriptor, view, offset)
        view, offset = view[count:], offset + count


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The options that differ, for a message: `size 8x64x64, now 16x64x64`."""
    old = {**before, **before.get("options", {})}
    new = {**now, **now.get("options", {})}
    keys = [key for key in sorted({*old, *new} - {"options"}) if old.get(key) != new.get(key)]
    return "; ".join(f"{key} {old.get(key)}, now {new.get(key)}" for key in keys)
