"""Turning a folder of videos into a clip store: every source is decoded once, here, and never again."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from growreel.data.store import check_destination, partial_path
from growreel.data.writer import StoreWriter
from growreel.errors import GrowreelError
from growreel.growth import Size
from growreel.preparation.cutting import FITS, ClipCutter, Fit
from growreel.preparation.sources import Found, Source, find_sources
from growreel.ranges import check_range
from growreel.video import Colors

DEFAULT_FPS = 25.0  # for sources without a rate: frames and strips


@dataclass(frozen=True)
class SourceRow:
    """What became of one source.

    Attributes:
        name: path relative to SOURCE, with `#r1c2` for a tile.
        status: `used`, `skipped`, or `ignored` for a file that never claimed to be a video or image.
        clips: clips cut from it.
        frames: frames looked at.
        fps: the rate its clips play at, where the source has one.
        note: why it was skipped, or what was odd about it.
    """

    name: str
    status: Literal["used", "skipped", "ignored"]
    clips: int = 0
    frames: int = 0
    fps: float | None = None
    note: str = ""


@dataclass(frozen=True)
class PrepareReport:
    """Result of `prepare`. `store` is None if nothing was written; `notes` are about the store as a whole."""

    store: Path | None
    clips: int
    rows: tuple[SourceRow, ...]
    notes: tuple[str, ...] = ()

    @property
    def skipped(self) -> tuple[SourceRow, ...]:
        return tuple(row for row in self.rows if row.status == "skipped")

    @property
    def exit_code(self) -> int:
        """0 all went well; 1 clips were written but some sources skipped; 2 nothing was written."""
        return 2 if self.store is None else 1 if self.skipped else 0

    def table(self) -> str:
        """One line per source, then the totals."""
        width = max([len(row.name) for row in self.rows] + [6])
        lines = [f"{'source':<{width}}  {'status':<7}  {'clips':>6}  {'frames':>7}  note"]
        lines += [f"{row.name:<{width}}  {row.status:<7}  {row.clips:>6,}  {row.frames:>7,}  {row.note}".rstrip() for row in self.rows]
        statuses = Counter(row.status for row in self.rows)
        counts = ", ".join(f"{statuses[status]:,} {status}" for status in ("used", "skipped", "ignored") if statuses[status])
        where = f"{self.clips:,} clips in {self.store}" if self.store else "no clips: no store was made"
        return "\n".join([*lines, f"{where}; sources: {counts}", *self.notes])


@dataclass(frozen=True)
class _Options:
    """What the clips of a store depend on; kept in its index, and compared before an unfinished store is continued."""

    source: str
    size: str
    frame_stride: int
    clip_stride: int
    fit: Fit
    max_clips_per_video: int | None
    colors: Colors
    tiles: str | None
    labels: bool
    fps: float | None


def prepare(
    source: str | os.PathLike[str],
    store: str | os.PathLike[str],
    size: Size,
    *,
    frame_stride: int = 1,
    clip_stride: int | None = None,
    fit: Fit = "crop",
    max_clips_per_video: int | None = None,
    colors: Colors = 3,
    tiles: tuple[int, int] | None = None,
    labels: bool = False,
    fps: float | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> PrepareReport:
    """Cut every source below a folder into clips and write them as a clip store.

    Sources that give no clip are listed in the report with the reason, never fatal. The store appears only when it is whole; an
    interrupted call leaves `<store>.partial`, and the same call continues it.

    Args:
        source: folder of videos, folders of frames or strips in any depth; or one such file.
        store: folder to write.
        size: of the clips.
        frame_stride: take every n-th frame.
        clip_stride: frames of the source from the start of a clip to the start of the next; by default clips follow without overlap.
        fit: `crop` the middle or `pad` with black where a frame has another shape than the clips.
        max_clips_per_video: at most so many clips, the first ones, from each source (or tile).
        colors: 3 for RGB, 1 for grey.
        tiles: (rows, columns) if every frame is a grid of tiles, each a source of its own.
        labels: label clips with the name of the first-level sub-folder.
        fps: bring all videos to this rate first; None takes their frames as they are.
        overwrite: replace an older store.
        progress: show a bar, if the output is a terminal.

    Raises:
        GrowreelError: for an argument out of range, a missing or empty source, a store that is in the way, or a full disk.
    """
    source, store = Path(source), Path(store)
    clip_stride = clip_stride if clip_stride is not None else size.t * frame_stride
    for extent in size:
        check_range(f"--size {size}: its extent", extent, least=1)
    check_range("--frame-stride", frame_stride, least=1)
    check_range("--clip-stride", clip_stride, least=1)
    check_range("--max-clips-per-video", max_clips_per_video, least=1)
    check_range("--fps", fps, above=0)
    for extent in tiles or ():
        check_range("--tiles: rows and columns", extent, least=1)
    if fit not in FITS:
        raise GrowreelError(f"--fit {fit}: is unknown; use {' or '.join(FITS)}")
    if colors not in (1, 3):
        raise GrowreelError(f"--colors {colors}: must be 3 (RGB) or 1 (grey)")
    _check_apart(source, store)
    check_destination(store, overwrite)
    found = find_sources(source, labels=labels, exclude={store.resolve(), partial_path(store).resolve()})
    _check_found(source, found, labels)
    options = _Options(
        source=str(source.resolve()),
        size=str(size),
        frame_stride=frame_stride,
        clip_stride=clip_stride,
        fit=fit,
        max_clips_per_video=max_clips_per_video,
        colors=colors,
        tiles="x".join(map(str, tiles)) if tiles else None,
        labels=labels,
        fps=fps,
    )
    rows = [SourceRow(skip.name, "ignored" if skip.expected else "skipped", note=skip.reason) for skip in found.skips]
    with StoreWriter(store, size, colors, options=asdict(options), overwrite=overwrite) as writer:
        earlier = writer.finished
        for each in tqdm(found.sources, unit="source", desc="prepare", disable=None if progress else True):
            if each.name in earlier:
                rows += [SourceRow(**row) for row in earlier[each.name]]
            else:
                rows += _convert(each, writer, size, options, tiles)
        if writer.clip_count == 0:
            writer.discard()
            return PrepareReport(None, 0, tuple(rows))
        rate, notes = _store_rate(rows)
        writer.finish(fps=rate, skipped=[(row.name, row.note) for row in rows if row.status == "skipped"])
        return PrepareReport(store, writer.clip_count, tuple(rows), notes)


def _convert(source: Source, writer: StoreWriter, size: Size, options: _Options, tiles: tuple[int, int] | None) -> list[SourceRow]:
    """Write the clips of one source; a row for it, or for each of its tiles."""
    grid = tiles if tiles and source.kind != "strip" else (1, 1)
    names = [source.name if grid == (1, 1) else f"{source.name}#r{r + 1}c{c + 1}" for r in range(grid[0]) for c in range(grid[1])]
    cutters = [
        ClipCutter(
            size,
            frame_stride=options.frame_stride,
            clip_stride=options.clip_stride,
            fit=options.fit,
            max_clips=options.max_clips_per_video,
            pixel_aspect=source.pixel_aspect,
        )
        for _ in names
    ]
    trouble: list[str] = []
    for frame in _frames_until_trouble(source, options, trouble):
        if frame.shape[0] % grid[0] or frame.shape[1] % grid[1]:
            trouble.append(f"frames of {frame.shape[0]}x{frame.shape[1]} (height x width) do not divide into {options.tiles} tiles")
            break
        for name, cutter, tile in zip(names, cutters, _tiles_of(frame, grid), strict=True):
            for start, clip in cutter.feed(tile):
                writer.append(clip, source=name, frame=start, label=source.label)
        if all(cutter.done for cutter in cutters):
            break
    rate = options.fps or source.fps
    rows = [_row(name, cutter, rate / options.frame_stride if rate else None, trouble) for name, cutter in zip(names, cutters, strict=True)]
    writer.finish_source(source.name, [asdict(row) for row in rows])
    return rows


def _frames_until_trouble(source: Source, options: _Options, trouble: list[str]) -> Iterator[NDArray[np.uint8]]:
    """The frames of a source; what stops them goes into `trouble`. Errors of whoever takes the frames are not caught here."""
    try:
        yield from source.frames(options.colors, options.fps)
    except GrowreelError as error:
        trouble.append(str(error).removeprefix(f"{source.files[0]}: "))


def _tiles_of(frame: NDArray[np.uint8], grid: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    """Cut a frame [rows * h, columns * w, c] into tiles [h, w, c], row by row."""
    for band in np.split(frame, grid[0], axis=0):
        yield from np.split(band, grid[1], axis=1)


def _row(name: str, cutter: ClipCutter, fps: float | None, trouble: list[str]) -> SourceRow:
    if cutter.clips:
        return SourceRow(name, "used", cutter.clips, cutter.frames, fps, "; ".join(trouble))
    needed = (cutter.size.t - 1) * cutter.frame_stride + 1
    short = [f"{cutter.frames} frame{'' if cutter.frames == 1 else 's'}, needs {needed}"] if cutter.frames or not trouble else []
    return SourceRow(name, "skipped", 0, cutter.frames, fps, "; ".join(short + trouble))


def _store_rate(rows: list[SourceRow]) -> tuple[float, tuple[str, ...]]:
    """The rate at which most clips play, and a note if not all do."""
    clips: Counter[float] = Counter()
    for row in rows:
        if row.clips and row.fps:
            clips[row.fps] += row.clips
    if not clips:
        return DEFAULT_FPS, ()
    rate = clips.most_common(1)[0][0]
    listed = list(dict.fromkeys(f"{each:.4g}" for each in sorted(clips)))
    if len(listed) == 1:
        return rate, ()
    return rate, (f"note: clips play at different rates ({', '.join(listed)} frames per second); --fps would make them equal",)


def _check_apart(source: Path, store: Path) -> None:
    """A store may be inside its source (it is left out there), but not be it or hold it: replacing it would delete the videos."""
    here, there = source.resolve(), store.resolve()
    if here == there or there in here.parents:
        raise GrowreelError(f"{store}: the store cannot be SOURCE {source} or a folder around it; choose another path for the store")


def _check_found(source: Path, found: Found, labels: bool) -> None:
    if not found.sources and all(skip.expected for skip in found.skips):
        others = (
            f" (only {', '.join(skip.name for skip in found.skips[:3])}{', ...' if len(found.skips) > 3 else ''})" if found.skips else ""
        )
        raise GrowreelError(f"{source}: no videos, frames or strips found{others}; SOURCE is a folder of videos, or one video")
    if labels and found.sources and not any(each.label for each in found.sources):
        raise GrowreelError(f"--labels: {source} has no sub-folders with videos to name the labels; leave --labels out")
