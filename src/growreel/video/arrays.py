"""Films that are NumPy arrays: `.npy` and `.npz`.

uint8 is taken as it is, uint16 as `depth` says, booleans as 0 and 255; other types have no known range. Axes are [t, h, w],
[t, h, w, c], [t, c, h, w], the same with clips before them [n, ...], and [n, c, t, h, w]; c is 1, 3 or 4.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from growreel.errors import GrowreelError
from growreel.reading.npy import ArrayHeader, read_header
from growreel.reading.words import plain, shown
from growreel.video.archives import MAX_RATIO, UNPACKING_ERRORS, MediaFile
from growreel.video.depth import bits_for, note_of, to_8_bits
from growreel.video.media import Colors, DamagedError, Findings, Shown, StillPicture
from growreel.video.pixels import colored

SUFFIXES = (".npy", ".npz")
CHANNELS = (3, 1, 4)
SCANNED = 2**24  # values looked at in one go for the brightest


class ArrayPart(NamedTuple):
    """One film of an array file: `key` in an .npz (empty in an .npy), and which clip of it (None: all of it is one film)."""

    key: str
    clip: int | None


def list_arrays(file: MediaFile) -> list[ArrayPart]:
    """The films of an array file. Raises GrowreelError, naming type or shape, if it holds none; DamagedError if it is damaged."""
    parts = []
    with file.opened() as stream:
        for key, header, _ in _arrays(stream, file):
            axes = _axes(header, file, key)
            parts += [ArrayPart(key, clip) for clip in range(header.shape[0])] if axes.startswith("n") else [ArrayPart(key, None)]
    return parts


def array_frames(file: MediaFile, part: ArrayPart, colors: Colors, findings: Findings) -> Iterator[Shown]:
    """Yield the frames of one film. Raises as `list_arrays`; damage after the first frame goes into `findings`."""
    findings.timeless = True
    with _film(file, part) as (film, axes):
        bits = 8
        if film.dtype.itemsize == 2:
            step = max(1, SCANNED // max(1, film[0].size))
            brightest = 0
            for first in range(0, len(film), step):
                findings.alive()
                brightest = max(brightest, int(film[first : first + step].max()))
            bits = bits_for(brightest)
            findings.note(note_of(bits))
        if axes:
            findings.note(f"array read as {axes}")
        for number, values in enumerate(film):
            frame = to_8_bits(values, bits) if film.dtype.itemsize == 2 else values.astype(np.uint8) * (255 if film.dtype == bool else 1)
            yield Shown(float(number), 1.0, StillPicture(colored(frame, colors)))


@contextmanager
def _film(file: MediaFile, part: ArrayPart) -> Iterator[tuple[NDArray[Any], str]]:
    """The film as an array [t, h, w, c], mapped from the disk where it can be, and its axes as they were found."""
    with file.opened() as stream:
        for key, header, member in _arrays(stream, file):
            if key != part.key:
                continue
            axes = _axes(header, file, key)
            array = _load(file, header, member)
            film = array if part.clip is None else array[part.clip]
            names = axes.removeprefix("n")
            if "c" not in names:
                film, names = film[..., None], names + "c"
            usual = axes in ("thw", "thwc", "nthwc")
            yield film.transpose([names.index(axis) for axis in "thwc"]), "" if usual else f"[{', '.join(axes)}]"
            return
    raise DamagedError(f"{file}: has no array {part.key!r} any more")


def _load(file: MediaFile, header: ArrayHeader, member: IO[bytes]) -> NDArray[Any]:
    shape = header.shape[::-1] if header.fortran else header.shape
    size = header.bytes
    if file.member is None and file.suffix == ".npy":
        offset = member.tell()
        if file.path.stat().st_size < offset + size:
            raise DamagedError(f"{file}: truncated: {file.path.stat().st_size:,} bytes, should have {offset + size:,}")
        array: NDArray[Any] = np.memmap(file.path, header.dtype, "r", offset, shape)
        return array.T if header.fortran else array
    data = member.read(size)
    if len(data) < size:
        raise DamagedError(f"{file}: truncated: {len(data):,} bytes of pixels, should have {size:,}")
    array = np.frombuffer(data, header.dtype).reshape(shape)
    return array.T if header.fortran else array


def _arrays(stream: IO[bytes], file: MediaFile) -> Iterator[tuple[str, ArrayHeader, IO[bytes]]]:
    """Name, header and open stream (after the header) of each array of a file."""
    try:
        if file.suffix == ".npy":
            yield "", read_header(stream), stream
            return
        with zipfile.ZipFile(stream) as archive:
            for info in archive.infolist():
                if info.filename.endswith(".npy"):
                    with archive.open(info) as member:
                        header = read_header(member)
                        size = header.bytes
                        if size > info.file_size or info.file_size > MAX_RATIO * max(info.compress_size, 2**20):
                            raise DamagedError(
                                f"{file}: {shown(info.filename)} claims {size:,} bytes of pixels, which is not what it holds"
                            )
                        yield info.filename.removesuffix(".npy"), header, member
    except GrowreelError:
        raise
    except (ValueError, LookupError, OverflowError, *UNPACKING_ERRORS) as error:
        raise DamagedError(f"{file}: cannot be read as an array ({plain(error)})") from error


def _axes(header: ArrayHeader, file: MediaFile, key: str) -> str:
    """What the axes of an array are. Raises GrowreelError if nothing, or more than one thing, fits."""
    which = f"{file}: {'array ' + repr(key) if key else 'the array'} "
    shape, dtype = header.shape, header.dtype
    if dtype not in (np.uint8, np.uint16, np.bool_) or dtype.hasobject:
        raise GrowreelError(f"{which}holds {dtype} values, which have no known range; convert it to uint8 from 0 to 255")
    if 0 in shape:
        raise GrowreelError(f"{which}is empty: {list(shape)}")
    if len(shape) == 3:
        readings = ["thw"] if shape[-1] not in (3, 4) else []  # a single picture has its colours last
    else:
        orders = {4: ("thwc", "tchw"), 5: ("nthwc", "ntchw", "ncthw")}.get(len(shape), ())
        # Three colours are likelier than one, and one is likelier than colours with transparency.
        readings = [axes for colors in CHANNELS for axes in orders if shape[axes.index("c")] == colors]
        if len(shape) == 4 and not readings:
            readings = ["nthw"]
    if not readings:
        raise GrowreelError(f"{which}has the shape {list(shape)}; a film is [t, h, w, c] or [t, h, w], with clips before it [n, ...]")
    return readings[0]
