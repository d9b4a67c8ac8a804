"""The `.npy` and `.npz` formats: headers read as data of a fixed form, and believed only as far as the file is long.

NumPy's own reader runs the header through Python's tokenizer and parser, which raise whatever they like, and allocates what it asks for.
"""

from __future__ import annotations

import ast
import math
import os
import re
import zipfile
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from growreel.errors import GrowreelError
from growreel.reading.faults import why
from growreel.reading.files import open_file
from growreel.reading.words import plain, shown

MAGIC = b"\x93NUMPY"
MOST_HEADER_BYTES = 10_000
MOST_AXES = 32
MOST_RATIO = 1040
"""Times its size that a member can unpack to, by deflate's own limit."""
HEADER = re.compile(r"\{[\w\s'\"<>|=:,()\[\].+-]*\}\s*", re.ASCII)
DTYPE = re.compile(r"[<>|=]?[biufcSUV?]\d{0,9}", re.ASCII)
DAMAGE = (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, LookupError, OverflowError)


class NotNumbersError(ValueError):
    """An array is whole, but holds objects, records or text."""


class ArrayHeader(NamedTuple):
    """What an array file says of itself: its axes, whether the first one runs fastest, its type."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]

    @property
    def bytes(self) -> int:
        """Of the values that must follow."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(stream: IO[bytes]) -> ArrayHeader:
    """Read the header of a `.npy`; the stream then stands at the first value. Raises ValueError if it is none; NotNumbersError."""
    start = stream.read(8)
    if len(start) < 8 or not start.startswith(MAGIC):
        raise ValueError("it is no .npy file")
    version = (start[6], start[7])
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"it is a .npy file of version {version[0]}.{version[1]}, which is not known")
    width = 2 if version == (1, 0) else 4
    length = int.from_bytes(stream.read(width), "little")
    if length > MOST_HEADER_BYTES:
        raise ValueError(f"its header has {length:,} bytes, which no array needs")
    packed = stream.read(length)
    if len(packed) < length:
        raise ValueError("it ends in its header")
    return _parse(packed.decode("latin-1"))


def open_array(path: Path, what: str) -> NDArray[Any]:
    """The array of a `.npy` file, mapped from the disk: read as it is needed. Bytes after its values are not looked at.

    `what` says what to give, for the message. Raises GrowreelError if it is no such file or shorter than its header says.
    """
    try:
        with open_file(path) as file:
            header = read_header(file)
            offset, length = file.tell(), os.fstat(file.fileno()).st_size
            if header.bytes > length - offset:
                raise ValueError(f"it should have {header.bytes:,} bytes of values, has {length - offset:,}")
            order = header.shape[::-1] if header.fortran else header.shape
            if header.bytes == 0:
                return np.empty(header.shape, header.dtype)
            array: NDArray[Any] = np.memmap(file, header.dtype, "r", offset, order)
            return array.T if header.fortran else array
    except OSError as error:
        raise GrowreelError(f"{path}: cannot be read as an array ({why(error)}); {what}") from error
    except ValueError as error:
        if isinstance(error, GrowreelError):
            raise
        raise GrowreelError(f"{path}: cannot be read as an array ({plain(error)}); {what}") from error


def read_archive(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a `.npz` by name. Raises ValueError if it is damaged or its members are not what they say; OSError, GrowreelError."""
    arrays: dict[str, NDArray[Any]] = {}
    with open_file(path) as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                for info in archive.infolist():
                    with archive.open(info) as member:
                        arrays[info.filename.removesuffix(".npy")] = _read_member(member, info)
        except OSError:
            raise
        except DAMAGE as error:
            raise ValueError(plain(error) or type(error).__name__) from error
    return arrays


def _read_member(member: IO[bytes], info: zipfile.ZipInfo) -> NDArray[Any]:
    header = read_header(member)
    if header.bytes > info.file_size or info.file_size > MOST_RATIO * max(info.compress_size, 2**10):
        raise ValueError(f"its array {shown(info.filename)} claims {header.bytes:,} bytes, which is not what it holds")
    values = member.read()
    if len(values) != header.bytes:
        raise ValueError(f"its array {shown(info.filename)} has {len(values):,} bytes of values, should have {header.bytes:,}")
    array: NDArray[Any] = np.frombuffer(bytearray(values), header.dtype)
    return array.reshape(header.shape[::-1]).T if header.fortran else array.reshape(header.shape)


def _parse(text: str) -> ArrayHeader:
    if not HEADER.fullmatch(text):
        raise ValueError(f"its header is {shown(text)}")
    try:
        tree = ast.literal_eval(re.sub(r"(\d)L\b", r"\1", text.strip()))  # Python 2 wrote 3L
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError(f"its header is {shown(text)}") from None
    if not isinstance(tree, dict) or tree.keys() != {"descr", "fortran_order", "shape"}:
        raise ValueError(f"its header is {shown(text)}")
    name, fortran, shape = tree["descr"], tree["fortran_order"], tree["shape"]
    if not isinstance(name, str) or not DTYPE.fullmatch(name):
        raise NotNumbersError(f"it holds {shown(name)}, not plain numbers")
    if type(fortran) is not bool or not isinstance(shape, tuple) or len(shape) > MOST_AXES:
        raise ValueError(f"its header is {shown(text)}")
    if not all(type(extent) is int and 0 <= extent < 2**62 for extent in shape):
        raise ValueError(f"its shape is {shown(shape)}")
    try:
        dtype = np.dtype(name)
    except (TypeError, ValueError) as error:
        raise ValueError(f"it holds {shown(name)}, which is no type of numbers") from error
    if dtype.itemsize == 0:
        raise ValueError(f"it holds {shown(name)}, which has no bytes")
    return ArrayHeader(shape, fortran, dtype)
