"""One source into clips: the work of one process, from opening a file to the pyramids of its clips."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from growreel.errors import GrowreelError
from growreel.growth import Size
from growreel.preparation.cutting import FITS, Box, ClipCutter, Fit
from growreel.preparation.faces.settings import FaceSettings
from growreel.preparation.looking import reason_of
from growreel.preparation.report import SourceRow
from growreel.preparation.sources import Source
from growreel.preparation.windows import grid_boxes
from growreel.ranges import check_range
from growreel.video.media import Colors, Findings, Picture, Shown

MIN_FPS, MAX_FPS = 0.01, 1000.0
Emit = Callable[[str, int, NDArray[np.uint8]], None]


@dataclass(frozen=True)
class Cut:
    """How clips are cut; the arguments of `prepare` that the pixels depend on. Raises GrowreelError, naming the flag, for a bad one."""

    size: Size
    frame_stride: int
    clip_stride: int
    fit: Fit
    max_clips: int | None
    colors: Colors
    tiles: tuple[int, int] | None
    fps: float | None
    channel: int | None
    grid: bool = False
    faces: FaceSettings | None = None

    def __post_init__(self) -> None:
        for extent in self.size:
            check_range(f"--size {self.size}: its extent", extent, least=1)
        check_range("--frame-stride", self.frame_stride, least=1)
        check_range("--clip-stride", self.clip_stride, least=1)
        check_range("--max-clips-per-video", self.max_clips, least=1)
        for extent in self.tiles or ():
            check_range("--tiles: rows and columns", extent, least=1)
        check_range("--channel", self.channel, least=0)
        check_range("--fps", self.fps, least=MIN_FPS, most=MAX_FPS)
        if self.fit not in FITS:
            raise GrowreelError(f"--fit {self.fit}: is unknown; use {' or '.join(FITS)}")
        if self.colors not in (1, 3):
            raise GrowreelError(f"--colors {self.colors}: must be 3 (RGB) or 1 (grey)")


def convert(source: Source, cut: Cut, emit: Emit, beat: Callable[[], None], threads: int = 1) -> list[SourceRow]:
    """Cut one source; return a row for it, or for each of its tiles.

    Args:
        source: what to read. Whatever its decoder raises becomes the note of its row.
        cut: how.
        emit: takes name, number of the first frame, and the clip, uint8 [t, h, w, c]. What it raises is not caught.
        beat: called often: a sign of life.
        threads: for the decoder.
    """
    if cut.faces is not None:
        from growreel.preparation.faces.converting import FaceCut, convert_faces

        how = FaceCut(cut.size, cut.frame_stride, cut.clip_stride, cut.colors, cut.max_clips, cut.fps, cut.faces)
        return [
            convert_faces(source.name, lambda c, found: _until_trouble(source, replace(cut, colors=c), found, threads), how, emit, beat)
        ]
    if source.windows is not None or cut.grid:
        return [_convert_windows(source, cut, emit, beat, threads)]
    grid = cut.tiles if cut.tiles and source.kind != "strip" else (1, 1)
    names = [source.name if grid == (1, 1) else f"{source.name}#r{r + 1}c{c + 1}" for r in range(grid[0]) for c in range(grid[1])]
    cutters = [_cutter(cut) for _ in names]
    findings = Findings(alive=beat)
    for shown in _until_trouble(source, cut, findings, threads):
        boxes = _tiles_of(shown.picture, grid)
        if boxes is None:
            h, w = shown.picture.height, shown.picture.width
            findings.damage(f"frames of {h}x{w} (height x width) do not divide into {grid[0]}x{grid[1]} tiles")
            break
        for name, cutter, box in zip(names, cutters, boxes, strict=True):
            for start, clip in cutter.feed(shown.picture, shown.begins, box):
                emit(name, start, clip)
        if all(cutter.done for cutter in cutters):
            break
    rate = None if findings.timeless else cut.fps or findings.fps()
    return [_row(name, cutter, rate / cut.frame_stride if rate else None, findings) for name, cutter in zip(names, cutters, strict=True)]


def _convert_windows(source: Source, cut: Cut, emit: Emit, beat: Callable[[], None], threads: int) -> SourceRow:
    """Cut the wanted windows of a source, or a grid of them, and return its one row: clips of one film belong together in a split."""
    findings = Findings(alive=beat)
    cutters = [_cutter(cut) for _ in source.windows or ()]
    begun: dict[int, int] = {}  # number of the first picture that a cutter was fed
    frames = clips = 0
    first_time = 0.0
    for shown in _until_trouble(source, cut, findings, threads):
        number, frames = frames, frames + 1
        if source.windows is not None:
            if findings.timeless and not all(each.in_frames for each in source.windows):
                findings.damage("its pictures have no times: give their windows by start_frame and end_frame")
                break
            first_time = first_time if number else shown.time
            time = round(shown.time - first_time, 6)  # recordings of broadcasts begin at any time
            wanted = [(place, each.box(shown.picture)) for place, each in enumerate(source.windows) if each.holds(number, time)]
        else:
            boxes = grid_boxes(shown.picture, cut.size)
            cutters = cutters or [_cutter(cut) for _ in boxes]
            if len(boxes) != len(cutters):
                findings.damage("its frames change shape, so that another number of windows would fit")
                break
            wanted = list(enumerate(boxes))
        for place, box in wanted:
            if box is None:
                assert source.windows is not None
                h, w = shown.picture.height, shown.picture.width
                findings.note(f"the box of row {source.windows[place].row} lies outside of its frames of {h}x{w} (height x width)")
                continue
            first = begun.setdefault(place, number)
            for start, clip in cutters[place].feed(shown.picture, shown.begins, box):
                if clips != cut.max_clips:
                    emit(source.name, first + start, clip)
                    clips += 1
        if clips == cut.max_clips:
            break
    rate = None if findings.timeless else cut.fps or findings.fps()
    whole = max(cutters, key=lambda each: each.longest, default=_cutter(cut))
    whole.clips, whole.frames = clips, frames
    return _row(source.name, whole, rate / cut.frame_stride if rate else None, findings)


def _cutter(cut: Cut) -> ClipCutter:
    return ClipCutter(cut.size, frame_stride=cut.frame_stride, clip_stride=cut.clip_stride, fit=cut.fit, max_clips=cut.max_clips)


def _until_trouble(source: Source, cut: Cut, findings: Findings, threads: int) -> Iterator[Shown]:
    """The pictures of a source; what stops them goes into `findings`. Errors of whoever takes the pictures are not caught here."""
    pictures = source.pictures(cut.colors, findings, fps=cut.fps, channel=cut.channel, threads=threads)
    while True:
        try:
            shown = next(pictures, None)
        except GrowreelError as error:
            findings.damage(reason_of(error, source.files[0]))
            return
        except Exception as error:  # decoders of strangers' files raise anything
            findings.damage(reason_of(error, source.files[0]))
            return
        if shown is None:
            return
        yield shown


def _tiles_of(picture: Picture, grid: tuple[int, int]) -> list[Box | None] | None:
    """Where the tiles of a picture are, row by row; None if it does not divide."""
    if grid == (1, 1):
        return [None]
    h, w = picture.height, picture.width
    if h % grid[0] or w % grid[1]:
        return None
    h, w = h // grid[0], w // grid[1]
    return [(r * h, c * w, (r + 1) * h, (c + 1) * w) for r in range(grid[0]) for c in range(grid[1])]


def _row(name: str, cutter: ClipCutter, fps: float | None, findings: Findings) -> SourceRow:
    if cutter.clips:
        return SourceRow(name, "used", cutter.clips, cutter.frames, fps, "; ".join(findings.notes), findings.damaged)
    needed = (cutter.size.t - 1) * cutter.frame_stride + 1
    if cutter.frames or not findings.damaged:
        in_a_row = f", {cutter.longest} in a row" if cutter.longest < cutter.frames else ""
        short = [f"{cutter.frames} frame{'' if cutter.frames == 1 else 's'}{in_a_row}, needs {needed}"]
    else:
        short = []
    return SourceRow(name, "skipped", 0, cutter.frames, fps, "; ".join(short + findings.notes), findings.damaged)
