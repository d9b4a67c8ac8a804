"""Shards are compared with their checksums when they are first used; that they were is remembered by size and time of change.

The memory is a small file in the user's cache folder, not in the store, which may be read-only or another user's. Losing it costs a
second look.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from growreel.errors import GrowreelError
from growreel.reading.files import read_file
from growreel.reading.json_tree import parse_json
from growreel.runtime.cache import cache_folder
from growreel.runtime.durable import replace_text

MOST_BYTES = 2**24
BLOCK = 2**20
SETTLED_NS = 2 * 10**9
"""A file younger than this is not remembered: it could change once more without another time, whose grain is some milliseconds."""


class VerifiedShards:
    """Which shards of a store are known to have the checksums that its index gives them. Not for use by several threads at a time."""

    def __init__(self, store: Path) -> None:
        place = hashlib.sha256(os.fsencode(store.resolve())).hexdigest()[:32]
        self._memory = cache_folder() / "verified" / f"{place}.json"
        self._known: dict[str, list[Any]] | None = None

    def check(self, file: Path, name: str, sha256: str, descriptor: int) -> None:
        """Compare an open shard with its checksum, unless this was done since it last changed.

        Raises GrowreelError naming the file if it has another one; OSError if it cannot be read.
        """
        status = os.fstat(descriptor)
        mark = [status.st_size, status.st_mtime_ns, status.st_ino, sha256]
        if self._known is None:
            self._known = self._read()
        if self._known.get(name) == mark:
            return
        if _checksum(descriptor) != sha256:
            raise GrowreelError(f"{file}: is damaged: its checksum is not that in index.json; restore it from a copy or run prepare again")
        if time.time_ns() - status.st_mtime_ns < SETTLED_NS:
            return
        self._known = {**self._read(), **self._known, name: mark}  # other processes may have seen other shards meanwhile
        with suppress(OSError):  # no cache folder: the next process looks again
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            replace_text(self._memory, json.dumps(self._known))

    def _read(self) -> dict[str, list[Any]]:
        try:
            known = parse_json(read_file(self._memory, MOST_BYTES))
        except ValueError:  # not there yet, or damaged
            return {}
        return known if isinstance(known, dict) else {}


def _checksum(descriptor: int) -> str:
    digest, offset = hashlib.sha256(), 0
    while block := os.pread(descriptor, BLOCK, offset):
        digest.update(block)
        offset += len(block)
    return digest.hexdigest()
