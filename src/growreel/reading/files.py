"""Opening files that were named by a user or by another file: regular ones alone, never waiting, never more than was expected."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

from growreel.errors import GrowreelError
from growreel.reading.faults import why

KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
# A pipe whose other end nobody has opened would keep a plain `open` waiting for ever.
FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def open_descriptor(path: Path) -> int:
    """A descriptor of a regular file, for reading. Raises OSError as `os.open` does, and GrowreelError for what is no regular file."""
    _refuse_others(path, Path(path).stat().st_mode)  # before it is opened: a device may act on that
    descriptor = os.open(path, FLAGS)
    try:
        _refuse_others(path, os.fstat(descriptor).st_mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def open_file(path: Path) -> io.BufferedReader:
    """A regular file, open for reading. Raises as `open_descriptor`."""
    return io.BufferedReader(io.FileIO(open_descriptor(path)))


def read_file(path: Path, most: int | None = None, advice: str = "give another file") -> bytes:
    """The whole contents of a regular file.

    Args:
        most: bytes; a longer file is refused before it is read.
        advice: what to do, for the message.

    Raises GrowreelError in all cases, also where the file does not exist.
    """
    try:
        with open_file(path) as file:
            length = os.fstat(file.fileno()).st_size
            if most is not None and length > most:
                raise GrowreelError(f"{path}: has {length:,} bytes; at most {most:,} are expected of such a file; {advice}")
            return file.read()
    except OSError as error:
        raise GrowreelError(f"{path}: cannot be read ({why(error)}); {advice}") from error
    except ValueError as error:
        if isinstance(error, GrowreelError):
            raise
        raise GrowreelError(f"{path!s:.80}: is no name of a file ({error}); {advice}") from error


def _refuse_others(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((name for is_kind, name in KINDS if is_kind(mode)), "no regular file")
        raise GrowreelError(f"{path}: is {kind}, not a file; give a file")
