"""Locks on files, held by one process at a time and given back by the system when that process ends, however it ends."""

from __future__ import annotations

import errno
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from growreel.errors import GrowreelError

log = logging.getLogger(__name__)
HELD = (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK)
ATTEMPTS = 4
LOCKED_BYTE = 2**30
"""Windows locks bytes, and nobody may read those: one far beyond the text."""

if sys.platform == "win32":
    import msvcrt
else:
    try:
        import fcntl
    except ImportError:  # neither Windows nor one of Unix's kin
        fcntl = None  # type: ignore[assignment]


def lock_descriptor(descriptor: int) -> None:
    """Take the lock of an open file without waiting. Raises BlockingIOError if another has it, OSError where files cannot be locked."""
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        elif fcntl is None:
            raise OSError(errno.ENOTSUP, "this system has no file locks")
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in HELD:
            raise BlockingIOError(error.errno, error.strerror) from error
        raise


def is_held(file: Path) -> bool:
    """Say whether some process holds the lock of a file. Where files cannot be locked the answer is yes if the file is there.

    To find out, a free lock is taken for a moment; `held` waits that long before it gives up.
    """
    try:
        descriptor = os.open(file, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError:
        return False
    except OSError:  # a run that may be read only
        return True
    try:
        lock_descriptor(descriptor)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _lock_soon(descriptor: int) -> None:
    """As `lock_descriptor`, but patient with somebody who only looks whether the lock is held."""
    for _ in range(ATTEMPTS - 1):
        try:
            return lock_descriptor(descriptor)
        except BlockingIOError:
            time.sleep(0.02)
    lock_descriptor(descriptor)


@contextmanager
def held(file: Path, what: str) -> Iterator[None]:
    """Hold the lock of `file`, which is made where it is missing and stays, for as long as the block runs.

    Raises GrowreelError beginning with `what` if another process holds it, and says which; OSError if the file cannot be opened. On a
    file system without locks a warning is logged and the block runs all the same.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0), 0o666)
    try:
        try:
            _lock_soon(descriptor)
        except BlockingIOError as error:
            os.lseek(descriptor, 0, os.SEEK_SET)
            owner = os.read(descriptor, 200).decode(errors="replace").split("\n")[0] or "another process"
            raise GrowreelError(f"{what} ({owner}); wait for it or stop it") from error
        except OSError as error:
            log.warning("%s: cannot be locked here (%s); see to it that only one process writes there", file, error.strerror)
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        try:
            yield
        finally:
            os.ftruncate(descriptor, 0)  # whose machine it was is nobody's business once the folder is passed on
    finally:
        os.close(descriptor)
