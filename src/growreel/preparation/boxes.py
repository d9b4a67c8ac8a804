"""Which parts of which videos are wanted: `--crop boxes.csv`, of one's own making or as YouTube-BoundingBoxes comes."""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path, PurePosixPath

from growreel.errors import GrowreelError
from growreel.preparation.sources import Skip, Source
from growreel.preparation.windows import Window

SECONDS = ("video", "start", "end", "x", "y", "w", "h")
FRAMES = ("video", "start_frame", "end_frame", "x", "y", "w", "h")
YOUTUBE = 10  # columns: youtube_id, timestamp_ms, class_id, class_name, object_id, object_presence, xmin, xmax, ymin, ymax
YOUTUBE_STEP = 1.5  # seconds between two sightings of one track, at most: boxes come once a second


@dataclass(frozen=True)
class Boxes:
    """The windows of each video, by its name in the file; `sha256` is of the file."""

    path: Path
    sha256: str
    windows: dict[str, tuple[Window, ...]]

    def select(self, sources: Sequence[Source]) -> tuple[list[Source], list[Skip]]:
        """The sources that have windows, with them, and the others as left out.

        A name in the file means the source of that name, or else all whose name without its ending, or whose file's name with or without
        it, is that. Raises GrowreelError if no name means any source.
        """
        chosen, left_out = list[Source](), list[Skip]()
        for source in sources:
            path = PurePosixPath(source.name)
            names = (source.name, str(path.with_suffix("")) if path.name else "", path.name, path.stem)
            name = next((name for name in names if name in self.windows), None)
            if name is None:
                left_out.append(Skip(source.name, f"no row of {self.path.name} names it", True))
            else:
                chosen.append(replace(source, windows=self.windows[name]))
        if sources and not chosen:
            first = next(iter(self.windows))
            raise GrowreelError(f"{self.path}: column video: no name, such as {first!r}, is a source's, such as {sources[0].name!r}")
        return chosen, left_out


def read_boxes(path: Path) -> Boxes:
    """Read a CSV file of boxes.

    With a header it has the columns video, start, end (seconds) or start_frame, end_frame, then x, y, w, h in pixels; others are
    passed over. Without one it has the ten columns of YouTube-BoundingBoxes, where sightings of one object that are at most 1.5 s
    apart become one window: their common box, from the first sighting to the last.

    Raises GrowreelError naming row and column of what is wrong.
    """
    try:
        raw = path.read_bytes()
        rows = list(csv.reader(raw.decode("utf-8-sig").splitlines(), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise GrowreelError(f"--crop {path}: cannot be read as a CSV file in UTF-8 ({error})") from error
    numbered = [(number, row) for number, row in enumerate(rows, start=1) if any(cell.strip() for cell in row)]
    if not numbered:
        raise GrowreelError(f"--crop {path}: has no rows")
    header = [cell.strip().lower() for cell in numbered[0][1]]
    if "video" in header:
        found = list(_own(path, header, numbered[1:]))
    elif len(header) == YOUTUBE:
        found = list(_youtube(path, numbered))
    else:
        raise GrowreelError(
            f"--crop {path}: row {numbered[0][0]}: is neither a header with {','.join(SECONDS)} (or {','.join(FRAMES[1:3])}) nor of the "
            f"{YOUTUBE} columns of YouTube-BoundingBoxes"
        )
    windows: dict[str, list[Window]] = {}
    for video, window in found:
        windows.setdefault(video, []).append(window)
    if not windows:
        raise GrowreelError(f"--crop {path}: has no boxes")
    return Boxes(path, hashlib.sha256(raw).hexdigest(), {video: tuple(each) for video, each in windows.items()})


def _own(path: Path, header: Sequence[str], rows: Iterable[tuple[int, list[str]]]) -> Iterator[tuple[str, Window]]:
    in_frames = "start_frame" in header
    columns = FRAMES if in_frames else SECONDS
    for name in columns:
        if name not in header:
            raise GrowreelError(f"--crop {path}: row 1: has no column {name}; it needs {','.join(columns)}")
    for number, row in rows:
        if len(row) != len(header):
            raise GrowreelError(f"--crop {path}: row {number}: has {len(row)} columns, the header {len(header)}")
        cells = {name: row[header.index(name)].strip() for name in columns}
        if not cells["video"]:
            raise GrowreelError(f"--crop {path}: row {number}, column video: is empty")
        start, end, x, y, w, h = (_number(path, number, name, cells[name]) for name in columns[1:])
        for name, wrong in ((columns[1], start < 0), (columns[2], end <= start), ("w", w <= 0), ("h", h <= 0)):
            if wrong:
                why = (
                    f"must be above {columns[1]}"
                    if name == columns[2]
                    else "must not be negative"
                    if name == columns[1]
                    else "must be above 0"
                )
                raise GrowreelError(f"--crop {path}: row {number}, column {name}: {cells[name]} {why}")
        yield cells["video"], Window(number, start, end, x, y, w, h, in_frames)


def _youtube(path: Path, rows: Iterable[tuple[int, list[str]]]) -> Iterator[tuple[str, Window]]:
    """Windows of all tracks, in the order of their first rows."""
    tracks: dict[tuple[str, str, str], list[Window]] = {}
    names = ("timestamp_ms", "xmin", "xmax", "ymin", "ymax")
    for number, row in rows:
        if len(row) != YOUTUBE:
            raise GrowreelError(f"--crop {path}: row {number}: has {len(row)} columns, YouTube-BoundingBoxes has {YOUTUBE}")
        if row[5].strip() not in ("present", "absent", "uncertain"):
            raise GrowreelError(f"--crop {path}: row {number}, column object_presence: {row[5]!r} is not present, absent or uncertain")
        if row[5].strip() != "present":
            continue
        time, left, right, top, bottom = (
            _number(path, number, name, row[place]) for name, place in zip(names, (1, *range(6, 10)), strict=True)
        )
        for name, low, high in (("xmax", left, right), ("ymax", top, bottom)):
            if not 0 <= low < high <= 1:
                raise GrowreelError(
                    f"--crop {path}: row {number}, column {name}: {low:g} to {high:g} are no shares of the picture, ascending"
                )
        sighting = Window(number, time / 1000, time / 1000, left, top, right - left, bottom - top, in_shares=True)
        tracks.setdefault((row[0].strip(), row[2], row[4]), []).append(sighting)
    for (video, _, _), sightings in tracks.items():
        sightings.sort(key=lambda each: each.start)
        first = 0
        breaks = [place for place, (a, b) in enumerate(pairwise(sightings), start=1) if b.start - a.start > YOUTUBE_STEP]
        for last in (*breaks, len(sightings)):
            together, first = sightings[first:last], last
            if len(together) > 1:
                yield video, _common(together)


def _common(sightings: Sequence[Window]) -> Window:
    """One window that holds all, from the first to the last."""
    x, y = min(each.x for each in sightings), min(each.y for each in sightings)
    right, bottom = max(each.x + each.w for each in sightings), max(each.y + each.h for each in sightings)
    return replace(sightings[0], end=sightings[-1].start, x=x, y=y, w=right - x, h=bottom - y)


def _number(path: Path, row: int, column: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise GrowreelError(f"--crop {path}: row {row}, column {column}: {text!r} is no number")
    return value
