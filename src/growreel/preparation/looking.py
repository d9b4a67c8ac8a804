"""What a file is, as far as finding sources needs to know. Runs where decoders run: in processes that may die of a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from growreel.errors import GrowreelError
from growreel.video.archives import MediaFile, Member, is_archive_name, list_archive
from growreel.video.arrays import SUFFIXES as ARRAY_SUFFIXES
from growreel.video.arrays import ArrayPart, list_arrays
from growreel.video.media import NotMediaError
from growreel.video.reading import look_at_image, probe

VIDEO_SUFFIXES = frozenset(
    ".mp4 .m4v .mkv .avi .mov .webm .mpg .mpeg .mts .m2ts .ts .wmv .asf .flv .f4v .3gp .ogv .vob .mjpeg .mjpg .mxf .dv".split()  # noqa: SIM905
)
IMAGE_SUFFIXES = frozenset(
    ".gif .webp .apng .jpg .jpeg .png .bmp .tif .tiff .ppm .pgm .avif .jp2 .tga .exr .dpx .sgi .heic .heif".split()  # noqa: SIM905
)
UNREAD = {
    ".mat": "MATLAB files are not read; save their arrays as .npy",
    ".rar": "this kind of archive is not read; unpack it, or make it a .zip or .tar",
    ".7z": "this kind of archive is not read; unpack it, or make it a .zip or .tar",
}


@dataclass(frozen=True)
class Look:
    """What a look at one file has shown.

    Attributes:
        kind: `film` is only promised by name and head where `nothing` is not certain; converting it tells.
        height, width, deep: of an image, as in `MediaInfo`.
        parts: the films of an array file.
        members, refused: of an archive; refused ones with the reason. Of an array file, what in it is no film.
        reason: why it is `nothing`.
        expected: it never claimed to be a video or image.
    """

    file: MediaFile
    kind: Literal["image", "film", "array", "archive", "nothing"]
    height: int = 0
    width: int = 0
    deep: bool = False
    parts: tuple[ArrayPart, ...] = ()
    members: tuple[Member, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    reason: str = ""
    expected: bool = False


def look(file: MediaFile) -> Look:
    """Look at a file. Whatever goes wrong with it becomes the reason why it is nothing."""
    try:
        return _look(file)
    except NotMediaError as error:
        known = file.suffix in VIDEO_SUFFIXES | IMAGE_SUFFIXES
        return Look(file, "nothing", reason=reason_of(error, file), expected=not error.claimed and not known)
    except Exception as error:  # decoders of strangers' files raise anything
        return Look(file, "nothing", reason=reason_of(error, file))


def _look(file: MediaFile) -> Look:
    if file.suffix in UNREAD:
        return Look(file, "nothing", reason=UNREAD[file.suffix])
    if file.suffix in ARRAY_SUFFIXES:
        parts, others = list_arrays(file)
        return Look(file, "array", parts=tuple(parts), refused=tuple(others))
    if is_archive_name(file.name):
        if file.member is not None:
            return Look(file, "nothing", reason="an archive inside an archive is not read")
        members, refused = list_archive(file.path)
        return Look(file, "archive", members=tuple(members), refused=tuple(refused))
    info = look_at_image(file)
    if info is None and file.suffix in VIDEO_SUFFIXES:
        return Look(file, "film")
    info = info or probe(file)
    return Look(file, "image" if info.kind == "image" else "film", info.height, info.width, info.deep)


def reason_of(error: Exception, file: MediaFile) -> str:
    """An error's message without the file's path, which the table shows in its own column.

    It is kept in the index of the store, which may be passed on, so no path to the file's folder stays in it, whatever the library
    that raised the error has put there. A GrowreelError has what is no text in a name escaped.
    """
    message = str(error) if isinstance(error, GrowreelError) else f"cannot be read ({type(error).__name__}: {error})"
    message = message.removeprefix(str(GrowreelError(f"{file}: ")))
    whole = file.path.resolve()
    for path, kept in ((str(file.path), file.path.name), (str(whole), whole.name), (f"{whole.parent}/", "")):
        for written in (path, str(GrowreelError(path))):
            message = message.replace(written, kept)
    return message
