"""Memory of the process: how the C library hands it back, and the most that was used."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from pathlib import Path

import torch

from growreel.reading.faults import MEMORY, fault_of

try:
    import resource
except ImportError:  # Windows has no such module
    resource = None  # type: ignore[assignment]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory did not suffice, of a card or of the host."""
    return isinstance(error, torch.OutOfMemoryError) or fault_of(error) == MEMORY


def available_memory(device: torch.device) -> int:
    """Bytes that a process could still take: of the card, or of the host within the limits of its container; 0 where nothing tells."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return min([size for size in (_system("MemAvailable"), _container_room()) if size], default=0)


def total_memory(device: torch.device) -> int:
    """Bytes of the card or of the host; 0 where nothing tells."""
    return int(torch.cuda.mem_get_info(device)[1]) if device.type == "cuda" else _system("MemTotal")


def _system(name: str) -> int:
    try:
        rows = (line.split() for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
        return next(int(row[1]) * 1024 for row in rows if row[0] == f"{name}:")
    except (OSError, StopIteration):
        return 0


def _container_room() -> int:
    """What a control group leaves, of either version; 0 for no limit."""
    for limit, used in (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")):
        with suppress(OSError, ValueError):
            folder = Path("/sys/fs/cgroup")
            most = int((folder / limit).read_text(encoding="ascii"))
            return max(1, most - int((folder / used).read_text(encoding="ascii"))) if most < 2**60 else 0
    return 0


def keep_freed_memory() -> None:
    """Let the C library keep what is freed, for the next tensor, instead of giving it back to the system.

    glibc maps every block beyond 32 MB anew, and every page of it must be faulted in again: a third of a training step at 16x64x64
    on a CPU. At 32x256x256 blocks from 128 MB on alone make nearly half of it. What is kept lies about in pieces, so memory pays for
    it: 6.7 GB there where 4.1 would do (docs/log.md). Blocks of 1 GB and more are still handed back. Without glibc nothing is changed.
    """
    mallopt = _c_function("mallopt")
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 2**30)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def peak_memory(device: torch.device) -> int:
    """Return the most bytes that tensors held on a CUDA card; on other devices the most that the process held, or 0 where nothing tells."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return _status("VmHWM") or _highest_resident_size()


def resident_memory(device: torch.device) -> int:
    """Return the bytes that tensors hold now on a CUDA card; on any other device those that the process holds, or 0 where nothing tells."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else _status("VmRSS")


def forget_peak(device: torch.device) -> None:
    """Let `peak_memory` count from now on, and hand back what is free. Where the system offers no way to do that, nothing changes."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        return
    trim = _c_function("malloc_trim")
    if trim is not None:
        trim(0)
    with suppress(OSError):  # Linux alone has this file, and some containers forbid it
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _c_function(name: str) -> ctypes._NamedFuncPointer | None:
    """Return a function of the C library that this process is linked with, or None where there is none of that name, as on Windows."""
    try:
        return getattr(ctypes.CDLL(None), name, None)
    except (OSError, TypeError):
        return None


def _highest_resident_size() -> int:
    """Return what getrusage tells, in bytes: macOS counts in bytes, other systems in KiB, and Windows has no getrusage."""
    if resource is None:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * unit


def _status(name: str) -> int:
    """Return a line of Linux's /proc/self/status in bytes, 0 elsewhere. (ru_maxrss starts at what the parent process held.)"""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)
