"""Writing a clip store: in a `.partial` folder beside it, source by source, so that an interrupted writer goes on where it was."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from growreel.data.duplicates import find_duplicates, sources_together
from growreel.data.index import sign_index
from growreel.data.journal import Journal
from growreel.data.shards import Shards
from growreel.data.split import held_out_sources
from growreel.data.store import (
    FORMAT,
    INDEX,
    JOURNAL,
    VERSION,
    ClipStore,
    check_destination,
    check_system,
    partial_path,
    replaced_path,
)
from growreel.errors import GrowreelError
from growreel.growth import Size
from growreel.runtime.durable import replace_text, sync_folder, tidy

SPOOL = "spool"  # folder for what comes before its turn
SWEEPS = 3  # a file that is made while its folder is being removed keeps it there
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
        self.size, self.channels = size, channels
        self._shards = Shards(self.partial, size, channels, shard_bytes)
        heading: dict[str, Any] = {
            "version": VERSION,
            "size": str(size),
            "channels": channels,
            "shard_bytes": shard_bytes,
            "options": dict(options),
        }
        if origin is not None:
            heading["origin"] = origin
        self._pending: list[tuple[str, int, str | None]] = []
        check_system(self.path)
        check_destination(self.path, overwrite)
        self._journal: Journal | None = None
        with self._disk_errors():
            self.partial.mkdir(parents=True, exist_ok=True)
            self._journal = Journal(self.partial, heading)
            try:
                self._journal.read(lambda clips: resume and self._shards.holds(clips))
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
        return 0 if self._journal is None else self._journal.clip_count

    @property
    def _entries(self) -> list[dict[str, Any]]:
        """What the journal has of each finished source."""
        return [] if self._journal is None else self._journal.entries

    @property
    def _kept(self) -> Journal:
        assert self._journal is not None  # but in the constructor
        return self._journal

    def sources(self) -> list[str]:
        """The source of each clip so far."""
        return [clip[0] for entry in self._entries for clip in entry["clips"]]

    def new_spool(self) -> Path:
        """A new empty folder in the partial store, for clips that come before their turn; what an earlier call left is removed.

        No two calls share one: a decoder that outlives its killed call must not write among the files of the next. Raises GrowreelError.
        """
        with self._disk_errors():
            shutil.rmtree(self.partial / SPOOL, ignore_errors=True)
            folder = self.partial / SPOOL / uuid.uuid4().hex
            folder.mkdir(parents=True)
        return folder

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
        self._kept.keep(kept)
        return [entry["report"] for entry in self._entries]

    def append(self, clip: NDArray[np.uint8], *, source: str, frame: int = 0, label: str | None = None) -> None:
        """Write one clip, uint8 [t, h, w, c], and its pyramid. Raises GrowreelError if the disk is full."""
        if clip.shape != (*self.size, self.channels) or clip.dtype != np.uint8:
            raise GrowreelError(f"{source}: clip is {clip.dtype} {list(clip.shape)}, must be uint8 {[*self.size, self.channels]}")
        number = self.clip_count + len(self._pending)
        with self._disk_errors():
            self._shards.write(clip, number)
        self._pending.append((source, frame, label))

    def append_pyramids(self, file: Path, clips: Sequence[tuple[str, int, str | None]]) -> None:
        """Write clips whose pyramids lie in `file`, all levels of a clip before the next. `clips`: source, first frame, label of each.

        Raises GrowreelError if the disk is full, or the file is shorter than its clips.
        """
        with self._disk_errors():
            there, needed = file.stat().st_size, self._shards.write_pyramids(file, len(clips), self.clip_count + len(self._pending))
            if there != needed:
                raise GrowreelError(f"{file}: {there:,} bytes, should have {needed:,}; run the same command again")
        self._pending += clips

    def finish_source(self, key: str, report: Any = None, content: str = "") -> None:
        """Note in the journal that the clips appended since the last call are all that `key` gives.

        `report` (JSON) is kept; `content` says which content of the source it was (see `keep_leading`).
        """
        entry = {"source": key, "content": content, "clips": self._pending, "report": report}
        with self._disk_errors():
            self._kept.add(entry)
        self._pending = []

    def trouble(self, error: OSError) -> None:
        """Raise the GrowreelError that says what is safe, for trouble that another process had with the disk."""
        with self._disk_errors():
            raise error

    def finish(self, *, fps: float, skipped: Sequence[tuple[str, str]] = (), rates: Mapping[float, int] | None = None) -> None:
        """Write the index and put the store in place. Raises GrowreelError if there is no clip or the disk is full.

        `rates`: how many clips play at each rate, where that is known.
        """
        clips = [clip for entry in self._entries for clip in entry["clips"]]
        if not clips:
            raise GrowreelError(f"{self.path}: no clips to store")
        names = sorted({label for _, _, label in clips if label is not None})
        with self._disk_errors():
            self._shards.close()
            index = {
                "format": FORMAT,
                "version": VERSION,
                "count": len(clips),
                "shape": dict(zip("thwc", (*self.size, self.channels), strict=True)),
                "fps": fps,
                "labels": names,
                "options": self._kept.heading["options"],
                "skipped": [list(skip) for skip in skipped],
                "levels": self._shards.seal(len(clips)),
                "clips": [[source, frame, None if label is None else names.index(label)] for source, frame, label in clips],
            }
            if rates:
                index["rates"] = [[rate, rates[rate]] for rate in sorted(rates)]
            if (share := self._kept.heading["options"].get("holdout")) is not None:
                index["held_out"] = self._held_out(index, float(share))
            self._sweep()
            replace_text(self.partial / INDEX, json.dumps(sign_index(index)))
            self._put_in_place()
            (self.path / JOURNAL).unlink(missing_ok=True)
        self.close()

    def _held_out(self, index: dict[str, Any], share: float) -> list[str]:
        """The sources to hold out; copies and mirrored twins stay on one side."""
        with ClipStore(self.partial, index) as unfinished:
            groups = sources_together(unfinished, find_duplicates(unfinished))
        return sorted(held_out_sources([source for source, _, _ in index["clips"]], share, groups))

    def finish_part(self, facts: Mapping[str, Any]) -> None:
        """Put what was written in place as a part of a store: `facts`, and the clips of each source. Raises GrowreelError as `finish`."""
        with self._disk_errors():
            self._shards.close()
            heading = {name: self._kept.heading[name] for name in ("size", "channels", "options")}
            levels = self._shards.seal(self.clip_count)
            index = {**facts, **heading, "levels": levels, "clips": [entry["clips"] for entry in self._entries]}
            self._sweep()
            replace_text(self.partial / INDEX, json.dumps(index))
            self._put_in_place()
            (self.path / JOURNAL).unlink(missing_ok=True)
        self.close()

    def _sweep(self) -> None:
        """Remove what is no part of a store, with what a killed call has left or its decoders, if they outlive it, still make."""
        spool = self.partial / SPOOL
        for _ in range(SWEEPS):
            shutil.rmtree(spool, ignore_errors=True)
        if spool.exists():
            shutil.rmtree(spool)
        tidy(self.partial)

    def discard(self) -> None:
        """Remove the partial store."""
        self.close()
        shutil.rmtree(self.partial)

    def close(self) -> None:
        """Release files and the lock. What the journal has stays in the partial folder."""
        self._shards.close()
        if self._journal is not None:
            self._journal.close()

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
