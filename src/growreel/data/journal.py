"""The journal of an unfinished store: a heading, and a line for each source that is finished. Locked while a writer has it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from growreel.data.store import JOURNAL
from growreel.errors import GrowreelError
from growreel.runtime.locks import lock_descriptor


class Journal:
    """Lines in a file that only grow, but for what is taken back.

    Args:
        folder: of the unfinished store; must exist.
        heading: what the store depends on (JSON values).

    Raises:
        GrowreelError: another process writes there. OSError is passed on.

    Attributes:
        entries: one for each finished source: `source`, `content`, `clips` (source, first frame, label of each), `report`.
        clip_count: clips of all of them.
    """

    def __init__(self, folder: Path, heading: Mapping[str, Any]) -> None:
        self.folder, self.heading = folder, dict(heading)
        self.entries: list[dict[str, Any]] = []
        self.clip_count = 0
        self._ends: list[int] = []  # of their lines
        self._heading_end = 0
        self._descriptor = os.open(folder / JOURNAL, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            lock_descriptor(self._descriptor)
        except OSError as error:
            self.close()
            raise GrowreelError(f"{folder}: another process is writing there; wait for it or choose another store") from error

    def read(self, is_held: Callable[[int], bool]) -> None:
        """Take up what an earlier writer has finished, as far as `is_held` says that the clips (their number so far) are on the disk.

        After a power cut the journal may be ahead of the shards: such sources are done again. A new journal gets its heading.
        Raises GrowreelError if the journal is damaged or of a store with another heading.
        """
        raw = os.pread(self._descriptor, os.fstat(self._descriptor).st_size, 0)
        lines = raw.split(b"\n")[:-1]  # a broken last line was never finished
        if not lines:
            os.ftruncate(self._descriptor, 0)
            self._heading_end = self._append(self.heading)
            return
        try:
            heading, *entries = map(json.loads, lines)
        except ValueError as error:
            raise GrowreelError(f"{self.folder / JOURNAL}: damaged; delete {self.folder} to start again") from error
        if heading != json.loads(json.dumps(self.heading)):
            raise GrowreelError(
                f"{self.folder}: unfinished store made with other options ({_difference(heading, self.heading)}); "
                "run with those to continue it, or delete that folder to start again"
            )
        self._heading_end = end = len(lines[0]) + 1
        for line, entry in zip(lines[1:], entries, strict=True):
            if not is_held(self.clip_count + len(entry["clips"])):
                break
            end += len(line) + 1
            self._remember(entry, end)
        os.ftruncate(self._descriptor, end)
        os.lseek(self._descriptor, 0, os.SEEK_END)

    def add(self, entry: dict[str, Any]) -> None:
        """Note that a source is finished."""
        self._remember(entry, self._append(entry))

    def keep(self, count: int) -> None:
        """Forget all finished sources but the first `count`."""
        if count == len(self.entries):
            return
        os.ftruncate(self._descriptor, self._ends[count - 1] if count else self._heading_end)
        entries, ends = self.entries[:count], self._ends[:count]
        self.entries, self._ends, self.clip_count = [], [], 0
        for entry, end in zip(entries, ends, strict=True):
            self._remember(entry, end)

    def close(self) -> None:
        """Give the lock back. What is written stays."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _remember(self, entry: dict[str, Any], end: int) -> None:
        self.entries.append(entry)
        self._ends.append(end)
        self.clip_count += len(entry["clips"])

    def _append(self, value: Any) -> int:
        """Write one line at the end and return its end, or nothing: a line cut short by a full disk is taken back."""
        end = os.lseek(self._descriptor, 0, os.SEEK_END)
        line = json.dumps(value).encode() + b"\n"
        try:
            write_all(self._descriptor, line, end)
        except OSError:
            os.ftruncate(self._descriptor, end)
            raise
        return end + len(line)


def write_all(descriptor: int, data: bytes | NDArray[np.uint8], offset: int) -> None:
    """Write all of `data` at an offset, however little the system takes at a time."""
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
