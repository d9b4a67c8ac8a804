"""Finding clips' sources in any tree of files: videos, folders of frames, and strips (one image with its frames in a row)."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from growreel.errors import GrowreelError
from growreel.video import Colors, DamagedError, MediaInfo, NotMediaError, probe, read_frames

CLUTTER = {"thumbs.db", "desktop.ini", "__macosx", "@eadir"}
VIDEO_SUFFIXES = {".mp4", ".m4v", ".mkv", ".avi", ".mov", ".webm", ".mpg", ".mpeg", ".mts", ".m2ts", ".ts", ".wmv", ".flv", ".3gp", ".ogv"}
IMAGE_SUFFIXES = {".gif", ".webp", ".apng", ".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".avif", ".jp2"}
SURE_STRIP = 4


@dataclass(frozen=True)
class Source:
    """One thing that clips can be cut from.

    Attributes:
        name: path relative to SOURCE.
        kind: `video`, `frames` (a folder of images in order) or `strip`.
        files: the video or strip, or the images in order.
        fps: as the video declares it; None for images.
        pixel_aspect: width of a pixel over its height.
        label: name of the sub-folder of SOURCE it is in, if labels were asked for.
    """

    name: str
    kind: Literal["video", "frames", "strip"]
    files: tuple[Path, ...]
    fps: float | None
    pixel_aspect: float
    label: str | None

    def frames(self, colors: Colors, fps: float | None = None) -> Iterator[NDArray[np.uint8]]:
        """Yield uint8 [h, w, colors]. `fps` re-times videos; images have no rate and are taken one by one.

        Raises DamagedError after the last good frame if the source is damaged, other GrowreelErrors if it cannot be read.
        """
        if self.kind == "video":
            yield from read_frames(self.files[0], colors=colors, fps=fps)
        elif self.kind == "strip":
            yield from split_strip(next(read_frames(self.files[0], colors=colors)))
        else:
            for count, file in enumerate(self.files):
                try:
                    yield next(read_frames(file, colors=colors))
                except GrowreelError as error:
                    after = f"truncated or damaged after frame {count}: " if count else ""
                    raise DamagedError(f"{after}{file.name}: {_reason(error, file)}") from error


@dataclass(frozen=True)
class Skip:
    """A file or folder that gives no clips, and why. `expected`: it never claimed to be a video or image."""

    name: str
    reason: str
    expected: bool


class Found(NamedTuple):
    """What a tree holds, both in natural order of their names."""

    sources: list[Source]
    skips: list[Skip]


def find_sources(root: Path, *, labels: bool = False, exclude: Collection[Path] = ()) -> Found:
    """Look through a folder (or at one file) for sources.

    Files are judged by their content, not by their names. Images of a folder are the frames of one source in natural order of
    their names, except strips, each of which is a source. Hidden files are passed over; links are followed, but not in circles.

    Args:
        root: folder or file.
        labels: label each source with the name of the first-level sub-folder it is in.
        exclude: resolved folders to leave out.

    Raises:
        GrowreelError: if `root` does not exist or cannot be read.
    """
    if not root.exists():
        raise GrowreelError(f"{root}: no such file or folder; SOURCE is a folder of videos, or one video")
    if root.is_file():
        return _sources_of(root.parent, [root], root.parent, None)
    found = Found([], [])
    for folder, files in _walk(root, root, frozenset(), exclude, found.skips):
        parts = folder.relative_to(root).parts
        more = _sources_of(folder, files, root, parts[0] if labels and parts else None)
        found.sources.extend(more.sources)
        found.skips.extend(more.skips)
    return found


def split_strip(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cut a strip [h, w, c], whose long side is a multiple of the short one, into its square frames [t, s, s, c]."""
    h, w, c = image.shape
    if w > h:
        return np.ascontiguousarray(image.reshape(h, w // h, h, c).swapaxes(0, 1))
    return image.reshape(h // w, w, w, c)


def natural_key(name: str) -> list[tuple[bool, int, str]]:
    """Sort key by which `frame10` comes after `frame9`."""
    return [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"([0-9]+)", name) if part]


def _walk(
    folder: Path, root: Path, above: frozenset[tuple[int, int]], exclude: Collection[Path], skips: list[Skip]
) -> Iterator[tuple[Path, list[Path]]]:
    """Yield each folder with its files, in natural order; note in `skips` what cannot be entered."""
    if folder.resolve() in exclude:
        return
    files, folders = [], []
    try:
        status = folder.stat()
        with os.scandir(folder) as entries:
            names = sorted((entry.name for entry in entries), key=natural_key)
    except OSError as error:
        if folder == root:
            raise GrowreelError(f"{root}: SOURCE cannot be read ({error.strerror})") from error
        skips.append(Skip(_name(folder, root), f"folder cannot be read ({error.strerror})", False))
        return
    above |= {(status.st_dev, status.st_ino)}
    for path in (folder / name for name in names if not name.startswith(".") and name.lower() not in CLUTTER):
        try:
            status = path.stat()
        except OSError as error:
            reason = "link to nothing" if path.is_symlink() else f"cannot be read ({error.strerror})"
            skips.append(Skip(_name(path, root), reason, False))
            continue
        if path.is_dir() and (status.st_dev, status.st_ino) in above:
            skips.append(Skip(_name(path, root), "link that leads back to a folder it is in", False))
        elif path.is_dir():
            folders.append(path)
        elif path.is_file():
            files.append(path)
        else:
            skips.append(Skip(_name(path, root), "not a regular file", True))
    yield folder, files
    for path in folders:
        yield from _walk(path, root, above, exclude, skips)


def _sources_of(folder: Path, files: list[Path], root: Path, label: str | None) -> Found:
    """The sources among the files of one folder."""
    found, images = Found([], []), list[tuple[Path, MediaInfo]]()
    for file in files:
        try:
            info = probe(file)
        except NotMediaError as error:
            expected = file.suffix.lower() not in VIDEO_SUFFIXES | IMAGE_SUFFIXES
            found.skips.append(Skip(_name(file, root), _reason(error, file), expected))
        except GrowreelError as error:
            found.skips.append(Skip(_name(file, root), _reason(error, file), False))
        else:
            if info.kind == "image":
                images.append((file, info))
            else:
                found.sources.append(Source(_name(file, root), "video", (file,), info.fps, info.pixel_aspect, label))
    sizes = Counter((info.height, info.width) for _, info in images)
    frames = []
    for file, info in images:
        squares = _squares(info)
        # Two or three squares side by side may also be a frame of wide film: several of one size are taken for that.
        if squares >= SURE_STRIP or (squares >= 2 and sizes[info.height, info.width] == 1):
            found.sources.append(Source(_name(file, root), "strip", (file,), None, 1.0, label))
        else:
            frames.append(file)
    if frames:
        name = _name(folder, root) if folder != root else root.resolve().name
        found.sources.append(Source(name, "frames", tuple(frames), None, 1.0, label))
    found.sources.sort(key=lambda source: natural_key(source.name))
    return found


def _squares(info: MediaInfo) -> int:
    """How many square frames an image has room for in a row; 0 if none fit without a rest."""
    count, rest = divmod(max(info.height, info.width), min(info.height, info.width))
    return 0 if rest else count


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _reason(error: GrowreelError, file: Path) -> str:
    """An error's message without the path, which the table shows in its own column."""
    return str(error).removeprefix(f"{file}: ")
