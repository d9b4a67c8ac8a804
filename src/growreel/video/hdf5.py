"""Films that are data sets of HDF5 files, read a few frames at a time.

Taken are all data sets, in whatever group, of a type and shape that a film has (`arrays`); the others are named with the reason. What
lies in other files (links, virtual and external data sets) is not read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from growreel.errors import GrowreelError
from growreel.reading.words import plain
from growreel.video.archives import BOMB_BYTES, MAX_RATIO, MediaFile
from growreel.video.media import DamagedError

if TYPE_CHECKING:
    import h5py

SUFFIXES = (".h5", ".hdf5", ".hdf")
BLOCK = 2**24  # bytes of frames read at a time, or a chunk's if that is more
MAX_CHUNK = 2**29  # bytes: a chunk is unpacked as a whole
MAX_SETS = 100_000


@contextmanager
def opened(file: MediaFile) -> Iterator[h5py.File]:
    """The file. Raises GrowreelError without the package h5py, DamagedError if it is no HDF5 file or a damaged one."""
    try:
        import h5py
    except ImportError as error:
        raise GrowreelError(f"{file}: HDF5 needs the package h5py; pip install 'growreel[hdf5]'") from error
    with file.opened_for_ffmpeg() as source, _damage(file), h5py.File(source, "r", locking=False) as found:
        yield found


@contextmanager
def _damage(file: MediaFile) -> Iterator[None]:
    try:
        yield
    except GrowreelError:
        raise
    except Exception as error:  # h5py passes on what the library says as any of a dozen kinds
        raise DamagedError(f"{file}: cannot be read as HDF5 ({plain(error)})") from error


def data_sets(found: h5py.File) -> Iterator[tuple[str, h5py.Dataset, str]]:
    """Name, data set, and why it cannot be read (or nothing) of all data sets, by name."""
    import h5py

    names = list[str]()

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            names.append(name)
        if len(names) > MAX_SETS:
            raise ValueError(f"more than {MAX_SETS:,} data sets")

    found.visititems(note)
    for name in sorted(names):
        yield name, found[name], _unreadable(found[name])


def _unreadable(values: h5py.Dataset) -> str:
    if values.is_virtual or values.external:
        return "its values lie in other files, which are not read"
    if values.shape is None:
        return "is empty"
    size, packed = math.prod(values.shape) * values.dtype.itemsize, values.id.get_storage_size()
    if size > BOMB_BYTES and size > MAX_RATIO * packed:
        return f"claims {size:,} bytes of values and has {packed:,}"
    if values.chunks and math.prod(values.chunks) * values.dtype.itemsize > MAX_CHUNK:
        return f"chunks of {list(values.chunks)}: more than {MAX_CHUNK:,} bytes each are not read"
    return ""


def blocks(values: h5py.Dataset, axes: str, clip: int | None, file: MediaFile) -> Iterator[NDArray[Any]]:
    """Yield the frames of a film, some [t, ...] at a time, the time axis first and the others as they lie (without that of clips).

    Args:
        values: the data set.
        axes: what its axes are: `t`, `h`, `w`, perhaps `c`, and `n` first where there are clips.
        clip: which of them.
        file: for messages.

    Raises DamagedError for what cannot be unpacked.
    """
    at = axes.index("t")
    count = values.shape[at]
    frame = math.prod(values.shape) // (count * (values.shape[0] if clip is not None else 1)) * values.dtype.itemsize
    together = max(1, BLOCK // max(1, frame))
    if values.chunks:  # a chunk is unpacked once, where there is room
        chunk = values.chunks[at]
        together = max(chunk, together // chunk * chunk) if chunk * frame <= MAX_CHUNK else together
    for first in range(0, count, together):
        where: list[Any] = [slice(None)] * len(axes)
        where[at] = slice(first, min(count, first + together))
        if clip is not None:
            where[0] = clip
        with _damage(file):
            part: NDArray[Any] = values[tuple(where)]
        yield np.moveaxis(part, at - (clip is not None), 0)
