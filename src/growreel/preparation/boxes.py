"""Which parts of which videos are wanted: `--crop boxes.csv`, of one's own making or as YouTube-BoundingBoxes comes."""

from __future__ import annotations

import csv
import hashlib
import math
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path, PurePosixPath

from growreel.errors import GrowreelError
from growreel.preparation.sources import Skip, Source
from growreel.preparation.windows import Window

SECONDS = ("video", "start", "end", "x", "y", "w", "h")
FRAMES = ("video", "start_frame", "end_frame", "x", "y", "w", "h")
YOUTUBE = "youtube_id timestamp_ms class_id class_name object_id object_presence xmin xmax ymin ymax".split()  # noqa: SIM905
YOUTUBE_STEP = 1.5  # seconds between two sightings of one track, at most: boxes come once a second
YOUTUBE_ID = re.compile(r"\[([\w-]{11})\]|(?<=[-_ .])([\w-]{11})$", re.ASCII)  # as downloaders name files: `Title [id]`, `Title-id`

Rows = Iterable[tuple[int, list[str]]]


@dataclass(frozen=True)
class Boxes:
    """The windows of each video, by its name in the file; `sha256` is of the file. `by_id`: names are those of YouTube."""

    path: Path
    sha256: str
    windows: dict[str, tuple[Window, ...]]
    by_id: bool = False

    def select(self, sources: Sequence[Source]) -> tuple[list[Source], list[Skip]]:
        """The sources that have windows, with them, and the others as left out.

        A name in the file means the source of that name, or else all whose name without its ending, or whose file's name with or without
        it, is that; an id of YouTube also those whose file's name has it as downloaders write it. Windows of each label are a source of
        their own, of the same name. Raises GrowreelError if no name means any source.
        """
        chosen, left_out = list[Source](), list[Skip]()
        for source in sources:
            name = next((name for name in self._names(source) if name in self.windows), None)
            if name is None:
                left_out.append(Skip(source.name, f"no row of {self.path.name} names it", True))
                continue
            of_label: dict[str | None, list[Window]] = {}
            for window in self.windows[name]:
                of_label.setdefault(window.label, []).append(window)
            chosen += [replace(source, windows=tuple(some), label=label or source.label) for label, some in of_label.items()]
        if sources and not chosen:
            first = next(iter(self.windows))
            raise GrowreelError(f"{self.path}: column video: no name, such as {first!r}, is a source's, such as {sources[0].name!r}")
        return chosen, left_out

    def _names(self, source: Source) -> list[str]:
        """What the file may call a source, the likeliest first."""
        path = PurePosixPath(source.name)
        names = [source.name, str(path.with_suffix("")) if path.name else "", path.name, path.stem]
        return names + [found[1] or found[2] for found in YOUTUBE_ID.finditer(path.stem)] if self.by_id else names


def read_boxes(path: Path) -> Boxes:
    """Read a CSV file of boxes.

    With a header it has the columns video, start, end (seconds) or start_frame, end_frame, then x, y, w, h in pixels, and label if there
    are labels; others are passed over. Without one, or with theirs, it has the ten columns of YouTube-BoundingBoxes, where sightings of one
    object that are at most 1.5 s apart, none between in which it is not surely there, become one window: their common box, from
    the first sighting to the last. Its label is the class.

    Raises GrowreelError naming row and column of what is wrong.
    """
    try:
        with path.open("rb") as raw:
            sha256 = hashlib.file_digest(raw, "sha256").hexdigest()
        with path.open(encoding="utf-8-sig", newline="") as stream:
            numbered = ((number, row) for number, row in enumerate(csv.reader(stream, strict=True), start=1) if any(map(str.strip, row)))
            windows, by_id = _windows(path, numbered)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise GrowreelError(f"--crop {path}: cannot be read as a CSV file in UTF-8 ({error})") from error
    if not windows:
        raise GrowreelError(f"--crop {path}: has no boxes")
    return Boxes(path, sha256, {video: tuple(each) for video, each in windows.items()}, by_id)


def _windows(path: Path, rows: Iterator[tuple[int, list[str]]]) -> tuple[dict[str, list[Window]], bool]:
    """The windows by video, and whether they are those of YouTube-BoundingBoxes, of which there are millions of rows."""
    first = next(rows, None)
    if first is None:
        raise GrowreelError(f"--crop {path}: has no rows")
    header = [cell.strip().lower() for cell in first[1]]
    by_id = "video" not in header and len(header) == len(YOUTUBE)
    if "video" in header:
        found = _own(path, header, rows)
    elif by_id:
        found = _youtube(path, rows if header == YOUTUBE else chain([first], rows))
    else:
        raise GrowreelError(
            f"--crop {path}: row {first[0]}: is neither a header with {','.join(SECONDS)} (or {','.join(FRAMES[1:3])}) nor of the "
            f"{len(YOUTUBE)} columns of YouTube-BoundingBoxes"
        )
    windows: dict[str, list[Window]] = {}
    for video, window in found:
        windows.setdefault(video, []).append(window)
    return windows, by_id


def _own(path: Path, header: Sequence[str], rows: Rows) -> Iterator[tuple[str, Window]]:
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
        label = row[header.index("label")].strip() if "label" in header else ""
        yield cells["video"], Window(number, start, end, x, y, w, h, in_frames, label=label or None)


def _youtube(path: Path, rows: Rows) -> Iterator[tuple[str, Window]]:
    """Windows of all tracks, in the order of their first rows.

    A track is kept as numbers, six a row: row, milliseconds, and left, right, top, bottom in shares of the picture, or less than 0 where
    the object is absent or not surely there.
    """
    tracks: dict[tuple[str, str, str], array[float]] = {}
    for number, row in rows:
        if len(row) != len(YOUTUBE):
            raise GrowreelError(f"--crop {path}: row {number}: has {len(row)} columns, YouTube-BoundingBoxes has {len(YOUTUBE)}")
        presence = row[5].strip()
        if presence not in ("present", "absent", "uncertain"):
            raise GrowreelError(f"--crop {path}: row {number}, column object_presence: {row[5]!r} is not present, absent or uncertain")
        time, box = _number(path, number, YOUTUBE[1], row[1]), (-1.0, -1.0, -1.0, -1.0)
        if presence == "present":
            left, right, top, bottom = (_number(path, number, name, cell) for name, cell in zip(YOUTUBE[6:], row[6:], strict=True))
            for name, low, high in (("xmax", left, right), ("ymax", top, bottom)):
                if not 0 <= low < high <= 1:
                    raise GrowreelError(
                        f"--crop {path}: row {number}, column {name}: {low:g} to {high:g} are no shares of the picture, ascending"
                    )
            box = (left, right, top, bottom)
        tracks.setdefault((row[0].strip(), row[3].strip(), row[4].strip()), array("d")).extend((number, time, *box))
    for (video, label, _), numbers in tracks.items():
        for together in _seen_together(numbers):
            yield video, _common(together, label)


def _seen_together(numbers: array[float]) -> Iterator[list[Window]]:
    """The sightings of a track that follow on one another, two or more at a time."""
    seen = sorted((numbers[at : at + 6] for at in range(0, len(numbers), 6)), key=lambda each: each[1])
    together = list[Window]()
    for row, time, left, right, top, bottom in seen:
        here = Window(int(row), time / 1000, time / 1000, left, top, right - left, bottom - top, in_shares=True)
        if together and (left < 0 or here.start - together[-1].start > YOUTUBE_STEP):
            if len(together) > 1:
                yield together
            together = []
        if left >= 0:
            together.append(here)
    if len(together) > 1:
        yield together


def _common(sightings: Sequence[Window], label: str) -> Window:
    """One window that holds all, from the first to the last."""
    x, y = min(each.x for each in sightings), min(each.y for each in sightings)
    right, bottom = max(each.x + each.w for each in sightings), max(each.y + each.h for each in sightings)
    return replace(sightings[0], end=sightings[-1].start, x=x, y=y, w=right - x, h=bottom - y, label=label or None)


def _number(path: Path, row: int, column: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise GrowreelError(f"--crop {path}: row {row}, column {column}: {text!r} is no number")
    return value
