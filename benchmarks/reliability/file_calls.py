"""Count the calls by which Python changes files in a folder, and make the n-th of them the last that succeeds, or the end of the process.

Counted are open for writing, write, fsync, rename, mkdir and every removal, also those of `shutil.rmtree`, which names files by an open
folder. Opening and moving are seen as audit events of Python; for write and fsync `open` and `os.fsync` are replaced. To be used in a
forked process, for none of this can be taken back.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HOW = {"kill": None, "full": errno.ENOSPC, "broken": errno.EIO}
"""SIGKILL; a disk that takes nothing more, but lets files be removed; a disk that fails in all that would change it."""
CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate")
REMOVALS = ("os.remove", "os.rmdir")


class FileCalls:
    """Counts from now on, in this process.

    Args:
        folder: changes of files elsewhere do not count.
        point: number, from 1, of the call that does not succeed any more; None only counts.
        how: one of `HOW`.

    A write is stopped half-way: its first half reaches the file.
    """

    def __init__(self, folder: Path, point: int | None, how: str) -> None:
        self.folder, self.point, self.how = os.fspath(folder), point, how
        self.count = 0

    def install(self) -> None:
        """Begin to count. There is no way back."""
        sys.addaudithook(self._hear)
        plain_fsync = os.fsync

        def fsync(fd: Any) -> None:
            descriptor = fd if isinstance(fd, int) else fd.fileno()
            if self._is_inside(_path_of(descriptor)):
                self.arrive()
            plain_fsync(descriptor)

        os.fsync = fsync
        builtins.open = io.open = self._opener(builtins.open)

    def arrive(self, removal: bool = False, half_done: Callable[[], Any] = lambda: None) -> None:
        """Count a call, and stop at it if its number has come; `half_done` is done before. Raises OSError."""
        self.count += 1
        if self.point is None or self.count < self.point:
            return
        if self.how == "full" and removal:
            return
        half_done()
        error = HOW[self.how]
        if error is None:
            os.kill(os.getpid(), signal.SIGKILL)
        else:
            raise OSError(error, os.strerror(error))

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            changes = isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        else:
            path, changes = arguments[0] if arguments else None, event in CHANGES
        if not changes or not isinstance(path, str | bytes | Path):
            return
        if event in REMOVALS and isinstance(arguments[1], int) and arguments[1] >= 0:  # named by an open folder
            path = _path_of(arguments[1]) / os.fsdecode(path)
        if self._is_inside(path):
            self.arrive(event in REMOVALS)

    def _opener(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        """`open` that gives files in the folder, open for writing, whose writes are counted."""

        def opened(file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, *rest: Any, **named: Any) -> Any:
            if not set(mode) & set("wxa+") or not isinstance(file, str | bytes | Path) or not self._is_inside(file):
                return plain(file, mode, buffering, encoding, *rest, **named)
            raw = _CountedFile(file, mode.replace("t", ""), opener=named.get("opener"))
            raw.calls = self
            stream = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return stream if "b" in mode else io.TextIOWrapper(stream, encoding)

        return opened

    def _is_inside(self, path: str | bytes | Path) -> bool:
        return os.fsdecode(path).startswith(self.folder)


class _CountedFile(io.FileIO):
    """A file whose writes arrive at `calls`."""

    calls: FileCalls

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self.calls.arrive(half_done=lambda: io.FileIO.write(self, view[: len(view) // 2]))
        return super().write(view)


def _path_of(descriptor: int) -> Path:
    return Path(f"/proc/self/fd/{descriptor}").readlink()
