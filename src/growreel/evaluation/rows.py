"""Files of features: a `.npy` with a checksum behind its values, where NumPy does not look."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from growreel.errors import GrowreelError
from growreel.reading.faults import why
from growreel.reading.files import open_file
from growreel.reading.npy import open_array, read_header
from growreel.reading.words import plain

MARK = b"growreel-rows-1:"
SEAL_BYTES = len(MARK) + 32
BLOCK = 2**20
ADVICE = "delete it, and it is made again"


class DamagedRows(GrowreelError):
    """A file of features is not what was written, or holds what no extractor gives."""


class RowFile:
    """A `.npy` that grows by rows; `seal` ends it with its checksum."""

    def __init__(self, stream: BinaryIO, count: int) -> None:
        self.stream, self.count, self.written = stream, count, 0
        self._digest = hashlib.sha256()

    def write(self, data: Any) -> int:
        """Write bytes, as NumPy's header does, and add them to the checksum."""
        self._digest.update(data)
        return int(self.stream.write(data))

    def append(self, rows: NDArray[Any]) -> None:
        """Write rows [n, ...]; all of a file have one shape and type."""
        if self.written == 0:
            header = {"descr": rows.dtype.str, "fortran_order": False, "shape": (self.count, *rows.shape[1:])}
            np.lib.format.write_array_header_1_0(self, header)
        self.write(np.ascontiguousarray(rows).data)
        self.written += len(rows)

    def seal(self) -> None:
        """Write the checksum of all that was written."""
        self.stream.write(MARK + self._digest.digest())


def read_rows(path: Path) -> NDArray[Any]:
    """The rows of a sealed file, mapped from the disk, once its checksum has been compared and every number is known to be finite.

    Raises DamagedRows if it is not what was written; GrowreelError if it cannot be read.
    """
    try:
        with open_file(path) as file:
            length = os.fstat(file.fileno()).st_size
            header = read_header(file)
            if file.tell() + header.bytes + SEAL_BYTES != length:
                raise ValueError("it has another length than its header says, or no checksum")
            _compare(file, length - SEAL_BYTES)
    except OSError as error:
        raise GrowreelError(f"{path}: cannot be read ({why(error)})") from error
    except ValueError as error:
        if isinstance(error, GrowreelError):
            raise
        raise DamagedRows(f"{path}: is damaged ({plain(error)}); {ADVICE}") from error
    rows = open_array(path, ADVICE)
    step = max(1, BLOCK // max(1, rows[:1].nbytes))
    if rows.dtype.kind == "f" and not all(bool(np.isfinite(rows[k : k + step]).all()) for k in range(0, len(rows), step)):
        raise DamagedRows(f"{path}: has features that are not finite; {ADVICE}")
    return rows


def _compare(file: BinaryIO, length: int) -> None:
    digest = hashlib.sha256()
    file.seek(0)
    for start in range(0, length, BLOCK):
        digest.update(file.read(min(BLOCK, length - start)))
    if file.read() != MARK + digest.digest():
        raise ValueError("its checksum is not that of its contents")
