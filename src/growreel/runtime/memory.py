"""Memory of the process: how the C library hands it back, and the most that was used."""

from __future__ import annotations

import ctypes
import resource
from pathlib import Path

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h


def keep_freed_memory() -> None:
    """Let the C library keep what is freed, for the next tensor, instead of giving it back to the system.

    glibc maps every block beyond 32 MB anew, and every page of it must be faulted in again: a third of a training step at 16x64x64
    on a CPU. At 32x256x256 blocks from 128 MB on alone make nearly half of it. What is kept lies about in pieces, so memory pays for
    it: 6.7 GB there where 4.1 would do (docs/log.md). Blocks of 1 GB and more are still handed back. Without glibc nothing is changed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 2**30)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def peak_memory(device: torch.device) -> int:
    """Bytes: on CUDA the most that tensors held, else the most that the process held."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return _status("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def resident_memory(device: torch.device) -> int:
    """Bytes held now: by tensors on CUDA, else by the process (0 where the system does not tell)."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else _status("VmRSS")


def _status(name: str) -> int:
    """A line of Linux's /proc/self/status in bytes, 0 elsewhere. (ru_maxrss starts at what the parent process held.)"""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)
