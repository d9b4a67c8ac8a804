"""Finding clips' sources in any tree of files: videos, arrays, films of single pictures, strips (one image with its frames in a row)."""

from __future__ import annotations

import errno
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from growreel.errors import GrowreelError
from growreel.preparation.folders import arrange, masks_among, natural_key
from growreel.preparation.looking import Look, look, reason_of
from growreel.preparation.windows import Window
from growreel.video.archives import MediaFile
from growreel.video.arrays import ArrayPart
from growreel.video.depth import FULL, note_of
from growreel.video.media import Colors, Findings, Frame, Shown, StillPicture
from growreel.video.reading import bits_of, read_array, read_pictures, read_still
from growreel.video.timing import with_breaks

CLUTTER = {"thumbs.db", "desktop.ini", "__macosx", "@eadir"}
SURE_STRIP = 4
DAMAGE_NAMED = 3  # broken pictures of a film that a note names

LookAll = Callable[[Sequence[MediaFile]], list[Look]]


@dataclass(frozen=True)
class Source:
    """One thing that clips can be cut from.

    Attributes:
        name: path relative to SOURCE.
        kind: `video`, `frames` (images in order), `strip` or `array`.
        files: the one file, or the images in order.
        label: name of the sub-folder of SOURCE it is in, if labels were asked for.
        begins: places in `files` that do not follow on the one before.
        deep: its images have 16 bits.
        part: of an array file.
        windows: the parts of it that are wanted (`boxes`); None for all of it.
    """

    name: str
    kind: Literal["video", "frames", "strip", "array"]
    files: tuple[MediaFile, ...]
    label: str | None = None
    begins: frozenset[int] = frozenset()
    deep: bool = False
    part: ArrayPart | None = None
    windows: tuple[Window, ...] | None = None

    def pictures(
        self, colors: Colors, findings: Findings, *, fps: float | None = None, channel: int | None = None, threads: int = 1
    ) -> Iterator[Shown]:
        """Yield its pictures. `fps` re-times videos; images and arrays have no rate and are taken one by one.

        Raises GrowreelErrors if nothing can be read; what is damaged beside good frames goes into `findings`.
        """
        first = self.files[0]
        if self.kind == "video":
            yield from read_pictures(first, colors=colors, findings=findings, fps=fps, channel=channel, threads=threads)
            return
        findings.timeless = True
        if self.kind == "array":
            assert self.part is not None
            yield from read_array(first, self.part, colors=colors, findings=findings)
        elif self.kind == "strip":
            for frame in split_strip(read_still(first, colors=colors, bits=self._bits(findings)).pixels()):
                yield Shown(0.0, 1.0, StillPicture(frame))
        else:
            yield from with_breaks(self._frames(colors, findings), findings)

    def _bits(self, findings: Findings) -> int:
        """How many bits of its pictures are used, if they are deep."""
        if not self.deep:
            return FULL
        bits = bits_of(self.files, findings)
        findings.note(note_of(bits))
        return bits

    def _frames(self, colors: Colors, findings: Findings) -> Iterator[Shown]:
        bits = self._bits(findings)
        if self.begins:
            before = self.files[min(self.begins) - 1].name
            findings.note(f"gaps in its numbers ({len(self.begins)}, the first after {before}); no clip goes across")
        broken, begins = 0, False
        for place, file in enumerate(self.files):
            findings.alive()
            begins |= place in self.begins
            try:
                picture = read_still(file, colors=colors, bits=bits)
            except Exception as error:  # one picture must not cost the others, whatever its decoder raises
                broken, begins = broken + 1, True
                if broken <= DAMAGE_NAMED:
                    which = f"{file.name}: " if len(self.files) > 1 else ""
                    findings.damage(which + reason_of(error, file))
                continue
            yield Shown(0.0, 1.0, picture, begins)
            begins = False
        if broken > DAMAGE_NAMED:
            findings.damage(f"{broken:,} of its pictures cannot be decoded")

    def content_key(self) -> str:
        """Changes with the content: sizes and times of all files, and which they are."""
        digest = hashlib.sha256(f"{self.kind}|{self.part}|{sorted(self.begins)}".encode())
        for file in self.files:
            try:
                status = file.stat_key()
            except OSError:
                status = "gone"
            digest.update(f"|{file.name}|{status}".encode(errors="surrogateescape"))
        return digest.hexdigest()


@dataclass(frozen=True)
class Skip:
    """A file or folder that gives no clips, and why. `expected`: it never claimed to be a video or image."""

    name: str
    reason: str
    expected: bool


class Found(NamedTuple):
    """What a tree holds, folder by folder in natural order of their names."""

    sources: list[Source]
    skips: list[Skip]


class _Folder(NamedTuple):
    """A folder, or a folder inside an archive, with its files."""

    name: str
    parts: tuple[str, ...]
    files: list[MediaFile]


def look_here(files: Sequence[MediaFile]) -> list[Look]:
    """Look at files in this process."""
    return [look(file) for file in files]


def find_sources(root: Path, *, labels: bool = False, exclude: Collection[Path] = (), look_all: LookAll = look_here) -> Found:
    """Look through a folder (or at one file) for sources.

    Files are judged by their content, not by their names; `folders` says what single images are taken for. Zip and tar archives are
    looked through like folders, without unpacking them. Hidden files are passed over; links are followed, but not in circles.

    Args:
        root: folder or file.
        labels: label each source with the name of the first-level sub-folder it is in.
        exclude: resolved folders to leave out.
        look_all: how to look at many files.

    Raises:
        GrowreelError: if `root` does not exist or cannot be read.
    """
    if not root.exists():
        raise GrowreelError(f"{root}: no such file or folder; SOURCE is a folder of videos, or one video")
    found = Found([], [])
    if root.is_file():
        folders = [_Folder("", (), [MediaFile(root)])]
    else:
        folders = [
            _Folder(_name(folder, root), folder.relative_to(root).parts, [MediaFile(file) for file in files])
            for folder, files in _walk(root, exclude, found.skips)
        ]
    looks = iter(look_all([file for folder in folders for file in folder.files]))
    top = root.resolve().name if root.is_dir() else root.parent.resolve().name
    for folder in folders:
        here = [next(looks) for _ in folder.files]
        _take(folder, [each for each in here if each.kind != "archive"], top, labels, found)
        for archive in (each for each in here if each.kind == "archive"):
            _take_archive(folder, archive, top, labels, found, look_all)
    return found


def split_strip(image: Frame) -> Frame:
    """Cut a strip [h, w, c], whose long side is a multiple of the short one, into its square frames [t, s, s, c]."""
    h, w, c = image.shape
    if w > h:
        return image.reshape(h, w // h, h, c).swapaxes(0, 1).copy()
    return image.reshape(h // w, w, w, c)


def _walk(root: Path, exclude: Collection[Path], skips: list[Skip]) -> Iterator[tuple[Path, list[Path]]]:
    """Yield each folder with its files, in natural order; note in `skips` what cannot be entered."""
    waiting: list[tuple[Path, frozenset[tuple[int, int]]]] = [(root, frozenset())]
    while waiting:
        folder, above = waiting.pop()
        if exclude and folder.resolve() in exclude:
            continue
        files, folders = [], []
        try:
            status = folder.stat()
            with os.scandir(folder) as entries:
                names = sorted((entry.name for entry in entries), key=natural_key)
        except OSError as error:
            if folder == root:
                raise GrowreelError(f"{root}: SOURCE cannot be read ({error.strerror})") from error
            skips.append(Skip(_name(folder, root), f"folder cannot be read ({error.strerror})", False))
            continue
        inside = above | {(status.st_dev, status.st_ino)}
        for path in (folder / name for name in names if not name.startswith(".") and name.lower() not in CLUTTER):
            try:
                status = path.stat()
                is_folder, is_file = path.is_dir(), path.is_file()
            except OSError as error:
                dangling = error.errno in (errno.ENOENT, errno.ELOOP) and path.is_symlink()  # a name too long cannot even be asked
                reason = "link to nothing" if dangling else f"cannot be read ({error.strerror})"
                skips.append(Skip(_name(path, root), reason, False))
                continue
            if is_folder and (status.st_dev, status.st_ino) in inside:
                skips.append(Skip(_name(path, root), "link that leads back to a folder it is in", False))
            elif is_folder:
                folders.append(path)
            elif is_file:
                files.append(path)
            else:
                skips.append(Skip(_name(path, root), "not a regular file", True))
        yield folder, files
        waiting += [(path, inside) for path in reversed(folders)]


def _take_archive(outer: _Folder, archive: Look, top: str, labels: bool, found: Found, look_all: LookAll) -> None:
    """The sources inside an archive, each of its folders by itself."""
    name = _joined(outer.name, archive.file.name)
    found.skips.extend([Skip(f"{name}/{member}", reason, False) for member, reason in archive.refused])
    folders: dict[str, list[MediaFile]] = {}
    for member in sorted(archive.members, key=lambda each: natural_key(each.name)):
        parts = PurePosixPath(member.name).parts
        if any(part.startswith(".") or part.lower() in CLUTTER for part in parts):
            continue
        folders.setdefault("/".join(parts[:-1]), []).append(replace(archive.file, member=member))
    if not folders:
        found.skips.append(Skip(name, "an archive without files", False))
    stem = archive.file.name.split(".")[0]
    for inside in sorted(folders, key=natural_key):
        # The archive stands for a folder of its name, unless it is all of SOURCE's first level.
        parts = (*outer.parts, *([stem] if outer.parts or not inside else []), *PurePosixPath(inside).parts)
        folder = _Folder(_joined(name, inside), parts, folders[inside])
        _take(folder, look_all(folder.files), top, labels, found)


def _take(folder: _Folder, looks: list[Look], top: str, labels: bool, found: Found) -> None:
    """Add the sources among the files of one folder to what was found."""
    label = folder.parts[0] if labels and folder.parts else None
    sources, images = list[Source](), list[Look]()
    for each in looks:
        name = _joined(folder.name, each.file.name)
        if each.kind == "image":
            images.append(each)
        elif each.kind == "film":
            sources.append(Source(name, "video", (each.file,), label))
        elif each.kind == "array":
            masks = masks_among(each.parts)
            for part in (part for part in each.parts if part.key not in masks):
                which = f"{name}{'#' + part.key if part.key else ''}{'' if part.clip is None else f'#{part.clip}'}"
                sources.append(Source(which, "array", (each.file,), label, part=part))
            others = [*each.refused, *((key, "named as masks, depth maps or thumbnails") for key in sorted(masks))]
            found.skips.extend([Skip(f"{name}#{key}", reason, True) for key, reason in others])
        else:
            found.skips.append(Skip(name, each.reason or "an archive inside an archive is not read", each.expected))
    sizes = Counter((each.height, each.width) for each in images)
    frames = []
    for each in images:
        squares = _squares(each)
        # Two or three squares side by side may also be a frame of wide film: several of one size are taken for that.
        if squares >= SURE_STRIP or (squares >= 2 and sizes[each.height, each.width] == 1):
            sources.append(Source(_joined(folder.name, each.file.name), "strip", (each.file,), label, deep=each.deep))
        else:
            frames.append(each)
    films, left_out = arrange(frames, [each.file.name for each in looks if each.kind == "film"])
    found.skips.extend([Skip(_joined(folder.name, each.file.name), reason, True) for each, reason in left_out])
    for film in films:
        if len(film.looks) == 1:
            name = _joined(folder.name, film.looks[0].file.name)
        else:
            name = (folder.name or top) if len(films) == 1 else _joined(folder.name, film.pattern)
        deep = any(each.deep for each in film.looks)
        sources.append(Source(name, "frames", tuple(each.file for each in film.looks), label, film.begins, deep))
    sources.sort(key=lambda source: natural_key(source.name))
    found.sources.extend(sources)


def _squares(image: Look) -> int:
    """How many square frames an image has room for in a row; 0 if none fit without a rest."""
    count, rest = divmod(max(image.height, image.width), min(image.height, image.width))
    return 0 if rest else count


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder and name else folder or name


def _name(path: Path, root: Path) -> str:
    name = path.relative_to(root).as_posix()
    return "" if name == "." else name
