"""Films that are arrays: `.npy`, `.npz` and data sets of HDF5 files.

uint8 is taken as it is, uint16 as `depth` says, booleans as 0 and 255; other types have no known range. Axes are [t, h, w],
[t, h, w, c], [t, c, h, w], the same with clips before them [n, ...], and [n, c, t, h, w]; c is 1, 3 or 4.
"""

from __future__ import annotations

import itertools
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from growreel.errors import GrowreelError
from growreel.reading.npy import ArrayHeader, NotNumbersError, read_header
from growreel.reading.words import plain, shown
from growreel.video import hdf5
from growreel.video.archives import MAX_RATIO, UNPACKING_ERRORS, MediaFile
from growreel.video.depth import bits_for, note_of, to_8_bits
from growreel.video.media import Colors, DamagedError, Findings, Shown, StillPicture
from growreel.video.pixels import colored

SUFFIXES = (".npy", ".npz", *hdf5.SUFFIXES)
CHANNELS = (3, 1, 4)
SCANNED = 2**24  # values looked at in one go
USUAL = ("thw", "thwc", "nthwc")
NAMED = 3  # data sets that a message names


class ArrayPart(NamedTuple):
    """One film of an array file: `key` in an .npz or HDF5 file (empty in an .npy), and which clip of it (None: all of it is one film)."""

    key: str
    clip: int | None


class Film(NamedTuple):
    """A film before it is read: the type of its values, its axes as they were found, and its frames [t, h, w, c], some at a time."""

    dtype: np.dtype[Any]
    axes: str
    blocks: Callable[[], Iterator[NDArray[Any]]]


def list_arrays(file: MediaFile) -> tuple[list[ArrayPart], list[tuple[str, str]]]:
    """The films of an array file, and the arrays or data sets of an .npz or HDF5 file that are none: name and reason.

    Raises GrowreelError, naming type or shape, if it holds none; DamagedError if it is damaged.
    """
    if file.suffix == ".npy":
        with file.opened() as stream:
            ((_, header, _),) = _arrays(stream, file)
            return _parts("", header.shape, _axes(header.shape, header.dtype, f"{file}: the array ")), []
    parts, others = list[ArrayPart](), list[tuple[str, str]]()
    for key, shape, dtype, problem in _described(file):
        try:
            if problem:
                raise GrowreelError(problem)
            parts += _parts(key, shape, _axes(shape, dtype, ""))
        except GrowreelError as error:
            others.append((key, str(error)))
    if not parts:
        told = "; ".join(f"{key} {reason}" for key, reason in others[:NAMED]) or "it has none"
        kind = "array" if file.suffix == ".npz" else "data set"
        raise GrowreelError(f"{file}: no {kind} of it is a film: {told}{'; ...' if len(others) > NAMED else ''}")
    return parts, others


def _described(file: MediaFile) -> Iterator[tuple[str, tuple[int, ...], np.dtype[Any], str]]:
    """Name, shape and type of each array of an .npz or HDF5 file, and why it cannot be read (or nothing)."""
    if file.suffix == ".npz":
        with file.opened() as stream:
            for key, header, _ in _arrays(stream, file):
                yield key, header.shape, header.dtype, ""
        return
    with hdf5.opened(file) as found:
        for key, values, problem in hdf5.data_sets(found):
            yield key, values.shape, values.dtype, problem


def _parts(key: str, shape: tuple[int, ...], axes: str) -> list[ArrayPart]:
    return [ArrayPart(key, clip) for clip in range(shape[0])] if axes.startswith("n") else [ArrayPart(key, None)]


def array_frames(file: MediaFile, part: ArrayPart, colors: Colors, findings: Findings) -> Iterator[Shown]:
    """Yield the frames of one film. Raises as `list_arrays`; damage after the first frame goes into `findings`."""
    findings.timeless = True
    with _film(file, part) as film:
        deep, bits = film.dtype.itemsize == 2, 8
        if deep:
            brightest = 0
            for block in film.blocks():
                findings.alive()
                brightest = max(brightest, int(block.max()))
            bits = bits_for(brightest)
            findings.note(note_of(bits))
        if film.axes not in USUAL:
            findings.note(f"array read as [{', '.join(film.axes)}]")
        for number, values in enumerate(itertools.chain.from_iterable(film.blocks())):
            frame = to_8_bits(values, bits) if deep else values.astype(np.uint8) * (255 if film.dtype == bool else 1)
            yield Shown(float(number), 1.0, StillPicture(colored(frame, colors)))


@contextmanager
def _film(file: MediaFile, part: ArrayPart) -> Iterator[Film]:
    if file.suffix in hdf5.SUFFIXES:
        with hdf5.opened(file) as found:
            values = found[part.key]
            axes = _axes(values.shape, values.dtype, _which(file, part.key))
            yield Film(
                values.dtype, axes, lambda: (_ordered(each, axes, first=True) for each in hdf5.blocks(values, axes, part.clip, file))
            )
            return
    with file.opened() as stream:
        for key, header, member in _arrays(stream, file):
            if key == part.key:
                axes = _axes(header.shape, header.dtype, _which(file, key))
                array = _load(file, header, member)
                film = _ordered(array if part.clip is None else array[part.clip], axes)
                yield Film(film.dtype, axes, partial(_in_blocks, film))
                return
    raise DamagedError(f"{file}: has no array {part.key!r} any more")


def _in_blocks(film: NDArray[Any]) -> Iterator[NDArray[Any]]:
    step = max(1, SCANNED // max(1, film[0].size))
    for first in range(0, len(film), step):
        yield film[first : first + step]


def _ordered(values: NDArray[Any], axes: str, *, first: bool = False) -> NDArray[Any]:
    """Values of one film as [t, h, w, c]. `first`: its time axis has been brought to the front."""
    names = axes.removeprefix("n")
    names = "t" + names.replace("t", "") if first else names
    if "c" not in names:
        values, names = values[..., None], names + "c"
    return values.transpose([names.index(axis) for axis in "thwc"])


def _which(file: MediaFile, key: str) -> str:
    return f"{file}: {'array ' + repr(key) if key else 'the array'} "


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
                        try:
                            header = read_header(member)
                        except NotNumbersError:
                            header = ArrayHeader((), False, np.dtype(object))
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


def _axes(shape: tuple[int, ...], dtype: np.dtype[Any], which: str) -> str:
    """What the axes of an array are. Raises GrowreelError, which begins with `which`, if nothing fits."""
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
