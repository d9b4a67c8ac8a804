"""What the machine refuses - no permission, too many open files, no memory - in one line that says what to do.

These are no faults of the input, so the command line ends with an exit code of its own (`EXIT_CODE`).
"""

from __future__ import annotations

import errno
import os

from growreel.reading.words import plain

EXIT_CODE = 3
MEMORY = "not enough memory: close other programs, use another machine, or ask for less at a time (smaller clips, minibatches, fewer clips)"
REMEDIES = {
    errno.EACCES: "no permission for it or for a folder above it: change that (chmod, chown), or give another path",
    errno.EPERM: "not permitted here: change the rights of the file or its folder, or give another path",
    errno.EMFILE: "too many open files in this process: raise the limit (ulimit -n 4096) and run the same command",
    errno.ENFILE: "too many open files on this machine: close other programs and run the same command",
    errno.ENOMEM: MEMORY,
}
ALLOCATORS = ("can't allocate memory", "out of memory", "cannot allocate memory", "not enough memory")


def why(error: OSError) -> str:
    """What the system says, and what to do where that is known."""
    return REMEDIES.get(error.errno or 0) or plain(error.strerror or error)


def fault_of(error: BaseException | None) -> str | None:
    """What the machine has refused, with what to do, if that is what an error or one that it was raised from says; else None.

    PyTorch reports its allocators' errors as RuntimeError, so those are known by their words.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in REMEDIES:
            names = [plain(os.fsdecode(name)) for name in (error.filename,) if isinstance(name, str | bytes | os.PathLike)]
            return ": ".join([*names, REMEDIES[error.errno]])
        if isinstance(error, MemoryError):
            return MEMORY
        if isinstance(error, RuntimeError):
            if any(words in str(error).lower() for words in ALLOCATORS):
                return MEMORY
            if os.strerror(errno.EMFILE) in str(error):
                return REMEDIES[errno.EMFILE]
        error = error.__cause__
    return None
