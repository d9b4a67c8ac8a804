"""A list of clips that are not wanted: what a person has thrown out, by source and first frame, for the next `prepare --drop`.

Text, one JSON object a line, so that it can be read, merged and edited: {"source": "holiday.mp4", "frame": 320}.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from growreel.errors import GrowreelError
from growreel.preparation.report import SourceRow
from growreel.runtime.durable import replace_text, writing

Drop = tuple[str, int]
"""Source as the store names it, and number of the clip's first frame there."""


def drops_beside(store: Path) -> Path:
    """Where the list of a store lies: beside it, so that it outlives a store that is prepared anew."""
    return store.with_name(f"{store.resolve().name}.drop.jsonl")


def read_drops(path: Path) -> frozenset[Drop]:
    """Read a list. Raises GrowreelError, naming the line, if it is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise GrowreelError(f"--drop {path}: cannot be read ({error}); growreel view writes such lists") from error
    found = set()
    for number, row in enumerate(text.split("\n"), start=1):
        if not row.strip():
            continue
        try:
            entry = json.loads(row)
            if not isinstance(entry["source"], str) or type(entry["frame"]) is not int:
                raise TypeError("a source is text and a frame a whole number")
            found.add((entry["source"], entry["frame"]))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            example = '{"source": "a.mp4", "frame": 0}'
            raise GrowreelError(f"--drop {path}: line {number} is not such as {example}; correct or remove it") from error
    return frozenset(found)


def write_drops(path: Path, drops: Iterable[Drop]) -> None:
    """Write a list, whole or not at all. Raises GrowreelError if the disk does not take it."""
    with writing(path):
        replace_text(path, "".join(json.dumps({"source": source, "frame": frame}) + "\n" for source, frame in sorted(drops)))


def digest_of_drops(drops: Iterable[Drop]) -> str:
    """Tells lists apart: an unfinished store is not continued with another one."""
    return hashlib.sha256(json.dumps(sorted(drops)).encode()).hexdigest()


class Sieve:
    """Lets the clips of one source pass, but for those on a list, and counts these."""

    def __init__(self, drops: frozenset[Drop]) -> None:
        self._drops = drops
        self._dropped: Counter[str] = Counter()

    def lets_pass(self, name: str, stored_name: str, frame: int) -> bool:
        """Say whether a clip of the source `name`, which the store calls `stored_name`, is wanted."""
        wanted = (stored_name, frame) not in self._drops
        self._dropped[name] += not wanted
        return wanted

    def correct(self, rows: Sequence[SourceRow]) -> list[SourceRow]:
        """The rows of the source with what was dropped."""
        return [_without(row, self._dropped[row.name]) for row in rows]


def _without(row: SourceRow, dropped: int) -> SourceRow:
    if not dropped:
        return row
    note = "; ".join(filter(None, [row.note, f"{dropped} of {row.clips} clips dropped by --drop"]))
    left = row.clips - dropped
    return replace(row, clips=left, note=note, status=row.status if left else "ignored")
