"""Turning a folder of videos into a clip store: every source is decoded once, here, and never again."""

from __future__ import annotations

import heapq
import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from growreel.data.store import check_destination, partial_path
from growreel.data.writer import StoreWriter
from growreel.errors import GrowreelError
from growreel.growth import Size
from growreel.preparation.converting import Cut, convert
from growreel.preparation.cutting import Fit
from growreel.preparation.dispatch import Crew, DiskTrouble, Engine, Lost, check_crew, start_crew
from growreel.preparation.drops import Drop, Sieve
from growreel.preparation.faces.settings import FaceSettings
from growreel.preparation.finishing import finish_store
from growreel.preparation.looking import Look
from growreel.preparation.merging import Shard, digest_of_sources, finish_part
from growreel.preparation.privacy import StoredNames
from growreel.preparation.report import PrepareReport, SourceRow
from growreel.preparation.selection import Selection
from growreel.preparation.sources import Found, LookAll, Source, find_sources, look_here
from growreel.preparation.worker import Converted, ConvertTask, LookTask
from growreel.ranges import check_range
from growreel.video import Colors
from growreel.video.archives import MediaFile

TIME_LIMIT = 30.0  # seconds without a new frame
LOOKED_AT = 64  # files a process looks at in one task
SEEN = 16  # entries of the source that a machine of a cluster must see


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
    channel: int | None = None,
    holdout: float | None = None,
    anonymous: bool = False,
    crop: str | os.PathLike[str] = "center",
    only: str | os.PathLike[str] | None = None,
    shard: Shard | None = None,
    workers: int | None = None,
    time_limit: float = TIME_LIMIT,
    overwrite: bool = False,
    progress: bool = True,
    drop: str | os.PathLike[str] | None = None,
    faces: FaceSettings | None = None,
    engine: Engine = "local",
    ray_address: str | None = None,
) -> PrepareReport:
    """Cut every source below a folder into clips and write them as a clip store.

    Sources that give no clip are listed in the report with the reason, never fatal. The store appears only when it is whole; an
    interrupted call leaves `<store>.partial`, and the same call continues it. Its bytes depend neither on the number of workers nor
    on interruptions.

    Args:
        source: folder of videos, arrays, folders of frames or strips in any depth, and archives of them; or one such file.
        store: folder to write.
        size: of the clips.
        frame_stride: take every n-th frame.
        clip_stride: frames of the source from the start of a clip to the start of the next; by default clips follow without overlap.
        fit: `crop` the middle or `pad` with black where a frame has another shape than the clips.
        max_clips_per_video: at most so many clips, the first ones, from each source (or tile).
        colors: 3 for RGB, 1 for grey.
        tiles: (rows, columns) if every frame is a grid of tiles, each a source of its own.
        labels: label clips with the name of the first-level sub-folder.
        fps: bring all videos to this rate first, 0.01 to 1000; None takes their frames as they are.
        channel: which channel, from 0, of TIFF stacks that have several.
        holdout: share of the clips to keep from training, above 0 and at most 0.9, in whole sources (`data.split`). They are in the store;
            training leaves them out, and evaluation measures against the others unless it is told otherwise.
        anonymous: give sources names made of their content; the store then holds no name of a file or folder but the labels.
        crop: `center`; `grid` for several windows, side by side, of frames that are longer than the clips' shape; `faces`
            (`preparation.faces`); or the path of a CSV file of boxes (`boxes.read_boxes`). Clips of all windows of a video have its name.
        only: a file that names the videos to take, and their labels if it has any (`listed.read_list`).
        shard: take only this part of the sources, and write a part for `merging.merge`.
        workers: processes that decode; None for one on every core. 0 decodes in this process, where a crash of a decoder ends it.
        time_limit: seconds without a new frame after which a source is given up (not with `workers` 0).
        overwrite: replace an older store.
        progress: show a bar, if the output is a terminal.
        drop: a list of clips to leave out, as the viewer writes it (see `preparation.drops`); they are named by source and first frame.
        faces: settings of `crop="faces"`; None for the defaults.
        engine: where the processes are: `local`, on this machine, or `ray`, on the machines of a Ray cluster (`ray_crew.RayCrew`).
        ray_address: host:port of the cluster; None for that in RAY_ADDRESS or, without one, a Ray on this machine alone. Of a program that
            is connected to Ray already, that one is taken.

    Raises:
        GrowreelError: for an argument out of range, a missing or empty source, a store that is in the way, or a full disk.
    """
    source, store = Path(source), Path(store)
    check_range("--holdout", holdout, above=0, most=0.9)
    check_crew(engine, workers, time_limit, ray_address)
    if engine == "ray":
        source, store = source.absolute(), store.absolute()  # its processes have working folders of their own
    _check_apart(source, store)
    check_destination(store, overwrite)
    if crop != "center" and tiles:
        raise GrowreelError(f"--crop {crop}: does not go with --tiles; leave one out")
    selection = Selection.read(crop, only, drop, faces)
    cut = Cut(
        size=size,
        frame_stride=frame_stride,
        clip_stride=clip_stride if clip_stride is not None else size.t * frame_stride,
        fit=fit,
        max_clips=max_clips_per_video,
        colors=colors,
        tiles=tiles,
        fps=fps,
        channel=channel,
        grid=crop == "grid",
        faces=selection.faces,
    )
    with ExitStack() as stack:
        shared = _shared(source, store) if engine == "ray" else []
        crew = start_crew(engine, workers, time_limit, shared=shared, ray_address=ray_address)
        if crew is not None:
            stack.enter_context(crew)
        exclude = {store.resolve(), partial_path(store).resolve()}
        found = find_sources(source, labels=labels, exclude=exclude, look_all=_looking_with(crew))
        _check_found(source, found, labels)
        sources, without = selection.select(found.sources)
        options = {
            "source": None if anonymous else source.resolve().name,
            **_cut_options(cut, labels),
            "holdout": holdout,
            "anonymous": anonymous,
            **selection.options(sources, anonymous),
        }
        if shard is not None:
            whole, sources = digest_of_sources(sources), sources[shard.number - 1 :: shard.count]
            options["shard"] = str(shard)
        writer = stack.enter_context(StoreWriter(store, size, colors, options=options, origin=str(source.resolve()), overwrite=overwrite))
        skips = [SourceRow(skip.name, "ignored" if skip.expected else "skipped", note=skip.reason) for skip in (*found.skips, *without)]
        bar = tqdm(
            _all_converted(sources, cut, writer, crew, anonymous, selection.drops),
            total=len(sources),
            unit="source",
            desc="prepare",
            disable=None if progress else True,
        )
        converted = list(bar)
        if shard is not None:
            return finish_part(writer, shard, whole, skips, converted, anonymous=anonymous)
        return finish_store(writer, [*skips, *itertools.chain(*converted)], anonymous=anonymous)


def _cut_options(cut: Cut, labels: bool) -> dict[str, Any]:
    """What the index of the store says of how its clips were cut and labelled."""
    return {
        "size": str(cut.size),
        "frame_stride": cut.frame_stride,
        "clip_stride": cut.clip_stride,
        "fit": cut.fit,
        "max_clips_per_video": cut.max_clips,
        "colors": cut.colors,
        "tiles": "x".join(map(str, cut.tiles)) if cut.tiles else None,
        "labels": labels,
        "fps": cut.fps,
        "channel": cut.channel,
    }


def _shared(source: Path, store: Path) -> list[Path]:
    """What shows that a machine sees the same folders as this one: an empty one of the same name has not the same in it."""
    inside = heapq.nsmallest(SEEN, source.iterdir()) if source.is_dir() else []
    return [path for path in (source, *inside, store.parent) if path.exists()]


def _looking_with(crew: Crew | None) -> LookAll:
    """How to look at many files: here, or a handful at a time in the crew, and alone where one of them costs a process."""
    if crew is None:
        return look_here

    def look_all(files: Sequence[MediaFile]) -> list[Look]:
        handfuls = [tuple(files[first : first + LOOKED_AT]) for first in range(0, len(files), LOOKED_AT)]
        looks = list[Look]()
        for handful, result in zip(handfuls, crew.run(LookTask(each) for each in handfuls), strict=True):
            if isinstance(result, Lost):
                alone = crew.run(LookTask((file,)) for file in handful)
                for file, one in zip(handful, alone, strict=True):
                    looks += [Look(file, "nothing", reason=one.reason)] if isinstance(one, Lost) else one
            else:
                looks += result
        return looks

    return look_all


def _all_converted(
    sources: Sequence[Source], cut: Cut, writer: StoreWriter, crew: Crew | None, anonymous: bool, drops: frozenset[Drop]
) -> Iterator[list[SourceRow]]:
    """Write the clips of all sources in their order; yield the rows of each. Sources that an earlier call has finished come first."""
    contents = [each.content_key() for each in sources]
    earlier = writer.keep_leading([(each.name, content) for each, content in zip(sources, contents, strict=True)])
    for rows in earlier:
        yield [SourceRow(**row) for row in rows]
    rest = list(zip(sources, contents, strict=True))[len(earlier) :]
    for (each, content), rows in zip(rest, _converted([each for each, _ in rest], cut, writer, crew, anonymous, drops), strict=True):
        for row in rows:
            if row.faces is not None:
                row.faces["source"] = StoredNames(each, anonymous).of(row.name)
        writer.finish_source(each.name, [asdict(row) for row in rows], content)
        yield rows


def _converted(
    sources: Sequence[Source], cut: Cut, writer: StoreWriter, crew: Crew | None, anonymous: bool, drops: frozenset[Drop]
) -> Iterator[list[SourceRow]]:
    """Append the clips of each source in turn, wherever they are cut, and yield its rows."""
    if crew is None:
        for each in sources:
            names, sieve = StoredNames(each, anonymous), Sieve(drops)

            def emit(
                name: str, start: int, clip: NDArray[np.uint8], each: Source = each, names: StoredNames = names, sieve: Sieve = sieve
            ) -> None:
                if sieve.lets_pass(name, names.of(name), start):
                    writer.append(clip, source=names.of(name), frame=start, label=each.label)

            yield sieve.correct(convert(each, cut, emit, lambda: None))
        return
    spool = writer.new_spool()
    threads = crew.threads(len(sources))
    tasks = [ConvertTask(each, cut, spool / f"{number}.clips", threads, anonymous, drops) for number, each in enumerate(sources)]
    for each, task, result in zip(sources, tasks, crew.run(tasks), strict=True):
        if isinstance(result, DiskTrouble):
            writer.trouble(result.error)
        elif isinstance(result, Lost):
            yield [SourceRow(each.name, "skipped", note=result.reason, damaged=True)]
        else:
            assert isinstance(result, Converted)
            if result.clips:
                writer.append_pyramids(task.spool, [(name, start, each.label) for name, start in result.clips])
            yield list(result.rows)
        task.spool.unlink(missing_ok=True)


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
